"""Does a workflow sample each few-step file as the file was made for, and if not, what to change. No host needed."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ..families import lookup, models
from ..families.settings import Settings, shifted
from .graph import Graph
from .readers import WEIGHTS, File, Run, is_lora_loader
from .runs import runs
from .schedules import EVEN, host_sigmas

# Names of few-step files, known or not: what their publishers call them.
FEW_STEP = re.compile(
    r"turbo|lightning|distill|schnell|lightx2v|causvid|(?<![a-z])lcm|hyper-?(?:sd|flux)|klein(?![-_.]base)|"
    r"(?<![a-z])fast(?![a-z])|fasth3|\d[-_ ]?steps?|dmd2?|(?<![a-z])tcd|causal_forcing|swift_?brush"
)
SERVES = {"ddim": ("euler", "ddim"), "lcm": ("lcm",), "tcd": ("tcd",)}  # ours: the same by the host's names
LEAVE_ONE_OUT = ("uni_pc", "uni_pc_bh2", "dpm_2", "dpm_2_ancestral")  # the last sigma but one, in the host's KSampler
NEAR = 0.02  # by how much sigmas of one list may differ: nobody sees it


@dataclass(frozen=True)
class Finding:
    """Something that does not fit. field: sampler, schedule, steps, cfg, strength, or known; when: switches turned."""

    file: str
    node: str
    field: str
    found: str
    wanted: str
    family: str = ""
    source: str = ""
    when: tuple[str, ...] = ()


def settings_of(file: File) -> Settings | None:
    """The row of a file, a LoRA's or a whole model's."""
    if file.lora:
        return lookup.from_name(file.name)
    hit = models.found(file.name)
    return hit[1] if hit else None


def is_few_step(file: File) -> bool:
    """By its row, or by its name where there is none. A style LoRA for a turbo model is no few-step file."""
    if settings_of(file):
        return True
    return bool(FEW_STEP.search(file.name.lower())) and not (file.lora and models.found(file.name))


def check(graph: Graph) -> list[Finding]:
    """Everything that does not fit, each once, in the order of the workflow's samplings."""
    chosen = list(chosen_runs(graph))
    found = [finding for run, file in chosen for finding in judged(run, file)]
    return list(dict.fromkeys(found))


def chosen_runs(graph: Graph) -> Iterator[tuple[Run, File]]:
    """Each few-step file at each sampler: as the workflow stands, else with the switches that suit the file best."""
    by_place: dict[tuple[str, str], list[tuple[Run, File]]] = {}
    for run in runs(graph):
        for file in filter(is_few_step, run.files):
            by_place.setdefault((run.node, file.name), []).append((run, file))
    for places in by_place.values():
        standing = [pair for pair in places if not pair[0].switched]
        yield (standing or sorted(places, key=lambda pair: (len(judged(*pair)), len(pair[0].switched))))[0]


def unused(graph: Graph) -> list[str]:
    """Few-step files that a loader names and no sampling reaches."""
    used = {file.name for run in runs(graph) for file in run.files}
    named = {
        value: is_lora_loader(node)
        for node in graph.values()
        for value in node.values.values()
        if isinstance(value, str) and WEIGHTS.search(value) and ("MODEL" in node.outputs or not node.outputs)
    }
    return [name for name, lora in named.items() if name not in used and is_few_step(File(name, "", lora))]


def judged(run: Run, file: File) -> list[Finding]:
    """What of one sampling does not fit one file."""
    settings = settings_of(file)
    place = (file.name, run.node)
    if settings is None and run.ours:
        return []  # FewStep's own loader reads them from the file, or refuses it
    if settings is None:
        return [Finding(*place, "known", "no settings known", "its author's page", when=run.switched)]
    wrong = [] if run.ours else [*sampler(run, settings), *steps(run, settings), *schedule(run, settings)]
    wrong += [*cfg(run, settings), *strength(file, settings)]
    more = {"family": settings.family, "source": settings.source, "when": run.switched}
    return [Finding(*place, *what, **more) for what in wrong]


def is_second(run: Run, settings: Settings) -> bool:
    """A second pass over an enlarged picture starts below the top."""
    return bool(settings.second and run.sigmas and run.sigmas[0] < 0.95)


def sampler(run: Run, settings: Settings) -> Iterator[tuple[str, str, str]]:
    ours = "ddim" if is_second(run, settings) else settings.sampler
    fitting = (*SERVES.get(ours, (ours,)), ours, *settings.samplers)
    if run.sampler is not None and run.sampler not in fitting:
        yield "sampler", run.sampler, fitting[0]


def steps(run: Run, settings: Settings) -> Iterator[tuple[str, str, str]]:
    fewest, most = (len(settings.second) - 1,) * 2 if is_second(run, settings) else settings.steps
    if isinstance(run.steps, int) and run.denoise == 1 and not fewest <= run.steps <= most:
        yield "steps", str(run.steps), str(most) if fewest == most else f"{fewest}-{most}"


def schedule(run: Run, settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Sigmas against sigmas where both are known, else the schedule's name."""
    if run.denoise != 1 or run.schedule in (None, "fewstep", *settings.schedules):
        return
    wanted, found = wanted_sigmas(run, settings), found_sigmas(run, settings)
    if wanted and found:
        if len(wanted) != len(found) or any(abs(a - b) > NEAR for a, b in zip(wanted, found)):
            exact = not settings.sigmas or str(run.steps) in settings.sigmas
            best = best_sigmas(settings), settings.best_steps
            yield "schedule", told(run, found), listed(wanted, run.steps) if exact else listed(*best)
    elif not found and run.schedule in EVEN and (run.shift_node or settings.sigmas):
        return  # its shift is not known here
    elif not fits_by_name(run.schedule, settings):
        yield "schedule", str(run.schedule), listed(best_sigmas(settings)) or by_name(settings)


def fits_by_name(name: str, settings: Settings) -> bool:
    if settings.sigmas:
        return False
    return name == settings.schedule or (name in EVEN and settings.schedule in ("trailing", "lcm", "simple"))


def by_name(settings: Settings) -> str:
    return settings.schedule if settings.schedule in ("simple", "normal") else "sgm_uniform"


def best_sigmas(settings: Settings) -> list[float]:
    return settings.sigmas.get(str(settings.best_steps), [])


def wanted_sigmas(run: Run, settings: Settings) -> list[float]:
    """The file's own for this number of steps, else as many even steps at its shift; of them the part that is taken."""
    if is_second(run, settings):
        return list(settings.second)
    own = settings.sigmas.get(str(run.steps), [])
    if not own:
        shift = shift_behind(best_sigmas(settings)) if settings.sigmas else settings.shift
        own = host_sigmas("simple" if settings.sigmas else settings.schedule, run.steps, shift)
    whole = len(own) == (run.steps or 0) + 1
    return own[run.part[0] : run.part[1] + 1] if run.part and whole else own


def found_sigmas(run: Run, settings: Settings) -> list[float]:
    """The workflow's, as far as they can be told: written out, or the host's even schedules under a shift."""
    shift = run.shift if run.shift_node else settings.shift
    own = list(run.sigmas) or host_sigmas(run.schedule, run.steps, shift)
    if own and run.sampler in LEAVE_ONE_OUT and run.node.startswith("KSampler"):
        own = host_sigmas(run.schedule, run.steps + 1, shift)
        own = [*own[:-2], own[-1]]
    return own[run.part[0] : run.part[1] + 1] if run.part and own else own


def cfg(run: Run, settings: Settings) -> Iterator[tuple[str, str, str]]:
    low, high = min(settings.cfg, settings.cfg_range[0]), max(settings.cfg, settings.cfg_range[1])
    if isinstance(run.cfg, int | float) and not low - 0.01 <= run.cfg <= high + 0.01:
        yield "cfg", f"{run.cfg:g}", f"{low:g}" if low == high else f"{low:g}-{high:g}"


def strength(file: File, settings: Settings) -> Iterator[tuple[str, str, str]]:
    if file.lora and isinstance(file.strength, int | float) and not lookup.fits(file.strength, settings):
        least, most = settings.strengths
        yield "strength", f"{file.strength:.3g}", f"{least:g}-{most:g}" if most else f"{settings.strength:g}"


def told(run: Run, sigmas: list[float]) -> str:
    """The workflow's schedule with its shift, or the list it writes out."""
    if run.sigmas:
        return listed(sigmas)
    shift = f" at shift {run.shift:.3g}" if isinstance(run.shift, int | float) else " without a shift node"
    return f"{run.schedule}{shift}: {digits(sigmas)}"


def listed(sigmas: list[float], steps: int | None = None) -> str:
    """Sigmas to four digits, with the shift that makes them where there is one."""
    shift = shift_behind(sigmas, steps)
    return f"shift {shift:.3g}: {digits(sigmas)}" if shift and abs(shift - 1) > 0.01 else digits(sigmas)


def digits(sigmas: list[float]) -> str:
    return ", ".join(f"{sigma:.4g}" for sigma in sigmas)


def shift_behind(sigmas: list[float], steps: int | None = None) -> float | None:
    """The s for which the list is N even steps under it, whole or (with N) a part of them; None where there is none."""
    count = len(sigmas) - 1
    steps = steps or count
    for first in range(steps - count + 1):
        t = 1 - (first + 1) / steps
        if count < 2 or not 0 < t < 1 or not 0 < sigmas[1] < 1:
            continue
        s = sigmas[1] / (1 - sigmas[1]) * (1 - t) / t
        if all(abs(a - b) < 2e-3 for a, b in zip(sigmas, shifted(steps, s)[first:])):
            return s
    return None
