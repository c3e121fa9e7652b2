"""What a sampler node draws with: its model's files and shift, its sampler, steps, schedule or sigmas, and cfg."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from .graph import BYPASSED, MUTED, Graph, Link, Node
from .values import DEPTH, World, passed_on, value_of

WEIGHTS = re.compile(r"\.(safetensors|sft|gguf|ckpt|pth?|bin)$", re.IGNORECASE)
SHIFTS = {  # nodes that set the model's sampling, and the widget with the shift
    "ModelSamplingSD3": "shift",
    "ModelSamplingAuraFlow": "shift",
    "MiniMaxH3SigmaShift": "shift_video",
    "ModelSamplingFlux": "max_shift",
    "ModelSamplingLTXV": "max_shift",
}
TRAINER = "FewStepDistill"
MADE_HERE = {"lora_file"}  # inputs by which a file of this workflow's own takes the place of the named one
SAMPLER_CLASSES = {  # the host's sampler nodes with options of their own: the name of the sampler they build
    "SamplerEulerAncestral": "euler_ancestral",
    "SamplerEulerAncestralCFGPP": "euler_ancestral_cfg_pp",
    "SamplerLCM": "lcm",
    "SamplerARVideo": "ar_video",
    "SamplerER_SDE": "er_sde",
}


@dataclass(frozen=True)
class File:
    """A weight file on a sampling's model: a LoRA with its strength, or the model itself."""

    name: str
    node: str
    lora: bool
    strength: float | None = 1.0


@dataclass(frozen=True)
class Run:
    """One sampling. None: only a run can tell. sigmas: exact, where the workflow writes them.

    shift is the s of sigma = s t / (1 + (s - 1) t) that a node sets, None without one; part: the (first, last) of the
    steps that are taken, where not all are.
    """

    node: str
    files: tuple[File, ...] = ()
    shift: float | None = None
    shift_node: str = ""
    sampler: str | None = None
    schedule: str | None = None
    steps: int | None = None
    sigmas: tuple[float, ...] = ()
    part: tuple[int, int] | None = None
    cfg: float | None = None
    denoise: float | None = 1.0
    ours: bool = False  # sampler and sigmas come from a FewStep loader, made for the file
    switched: tuple[str, ...] = ()  # what has to be turned for it


def k_sampler(graph: Graph, node: Node, world: World) -> Run:
    """KSampler, KSamplerAdvanced and FewStepKSampler: all in one node."""

    def get(name: str) -> Any:
        return value_of(graph, node, name, world)

    run = on_model(graph, node, world, Run(node.name, steps=get("steps"), cfg=get("cfg")))
    if node.kind == "FewStepKSampler":
        sampler = get("sampler_name") or get("method")  # as it is, and as older workflows have it
        if sampler == "auto":  # what the file itself asks for; a 0 leaves cfg to it too
            return replace(run, sampler="fewstep", ours=True, cfg=run.cfg or None)
        schedule = "lcm" if sampler in ("lcm", "tcd") else "trailing"  # each method's own
        return replace(run, sampler=sampler, schedule=schedule, denoise=get("denoise"))
    run = replace(run, sampler=get("sampler_name"), schedule=get("scheduler"))
    if node.kind == "KSampler":
        return replace(run, denoise=get("denoise"))
    return replace(run, part=part_of(get("start_at_step"), get("end_at_step"), run.steps))


def part_of(start: Any, end: Any, steps: Any) -> tuple[int, int] | None:
    """The steps that a KSamplerAdvanced takes, or None for all of them or an unknown part."""
    if not all(isinstance(value, int) for value in (start, end, steps)) or (start == 0 and end >= steps):
        return None
    return start, min(end, steps)


def custom(graph: Graph, node: Node, world: World) -> Run:
    """SamplerCustom: sampler and sigmas come by wire."""
    run = on_model(graph, node, world, Run(node.name, cfg=value_of(graph, node, "cfg", world)))
    return with_sigmas(graph, node, world, with_sampler(graph, node, world, run))


def advanced(graph: Graph, node: Node, world: World) -> Run:
    """SamplerCustomAdvanced: the model and cfg are in its guider."""
    guider = follow(graph, node.links.get("guider"), world)
    run = Run(node.name)
    if guider:
        run = on_model(graph, guider[0], world, replace(run, cfg=cfg_of(graph, guider[0], world)))
    return with_sigmas(graph, node, world, with_sampler(graph, node, world, run))


def cfg_of(graph: Graph, guider: Node, world: World) -> float | None:
    """A guider's cfg; 1 where it has none."""
    if guider.kind == "BasicGuider":
        return 1.0
    cfg = value_of(graph, guider, "cfg_conds" if guider.kind == "DualCFGGuider" else "cfg", world)
    return beyond_first(numbers(cfg)) if guider.kind == "FewStepCFGSchedule" else cfg


def beyond_first(scales: tuple[float, ...], first: int = 0, last: int | None = None) -> float | None:
    """The highest cfg of the steps first ... last - 1 after the first of all, None where no such step is left.

    A first step that is guided by itself is what a cfg for each step is for: 3, 1, 1, 1 fits a file made for cfg 1.
    """
    begin = max(first, 1) if len(scales) > 1 else 0
    part = scales[min(begin, len(scales) - 1) : last] if last is None or last > begin else ()
    return max(part, default=None)


def follow(graph: Graph, link: Link | None, world: World) -> tuple[Node, int] | None:
    """The node at a link's start and its output, past switches, reroutes and bypassed nodes."""
    for _ in range(DEPTH):
        node = graph.get(link[0]) if link else None
        if node is None:
            return None
        if node.kind not in ("ComfySwitchNode", "Reroute") and node.mode not in (MUTED, BYPASSED):
            return node, link[1]
        link = passed_on(graph, link, world)
    return None


def on_model(graph: Graph, node: Node, world: World, run: Run, name: str = "model") -> Run:
    """The files, and the shift nearest to the sampler, on the way up a node's model."""
    files: list[File] = []
    found = follow(graph, node.links.get(name), world)
    for _ in range(DEPTH):
        if found is None:
            break
        node = found[0]
        files += files_of(graph, node, world)
        if node.kind == TRAINER:  # what comes out is a student of its own
            break
        if node.kind in SHIFTS and not run.shift_node:
            run = replace(run, shift=shift_at(graph, node, world), shift_node=node.kind)
        found = follow(graph, node.links.get("model"), world)
    return replace(run, files=tuple(dict.fromkeys(files)))


def shift_at(graph: Graph, node: Node, world: World) -> float | None:
    """The s that a node sets: its widget, or e^mu with the host's mu of a Flux picture's size."""
    shift = value_of(graph, node, SHIFTS[node.kind], world)
    if node.kind in ("ModelSamplingSD3", "ModelSamplingAuraFlow", "MiniMaxH3SigmaShift"):
        return shift
    values = [value_of(graph, node, name, world) for name in ("base_shift", "width", "height")]
    if node.kind != "ModelSamplingFlux" or not all(isinstance(value, int | float) for value in [shift, *values]):
        return None
    base, width, height = values
    return math.exp(base + (shift - base) / (4096 - 256) * (width * height / 256 - 256))


def files_of(graph: Graph, node: Node, world: World) -> Iterator[File]:
    """Weight files that a node on the model's way names: LoRAs where a model comes in, else the model."""
    if node.links.keys() & MADE_HERE or node.kind == TRAINER:
        return
    lora = is_lora_loader(node)
    strength = next((name for name in ("strength_model", "strength") if name in (*node.values, *node.links)), None)
    for name in dict.fromkeys((*node.values, *node.links)):
        value = value_of(graph, node, name, world)
        if isinstance(value, dict) and isinstance(value.get("lora"), str) and value.get("on", True):
            yield File(value["lora"], node.name, True, value.get("strength", 1.0))
        elif isinstance(value, str) and WEIGHTS.search(value):
            yield File(value, node.name, lora, value_of(graph, node, strength, world) if strength else 1.0)


def is_lora_loader(node: Node) -> bool:
    return "model" in node.links or "lora" in node.kind.lower()


def with_sampler(graph: Graph, node: Node, world: World, run: Run) -> Run:
    """Adds the sampler's name."""
    found = follow(graph, node.links.get("sampler"), world)
    if not found:
        return run
    kind = found[0].kind
    if kind.startswith("FewStepLoad"):
        return replace(run, sampler="fewstep", ours=True)
    named = [value_of(graph, found[0], name, world) for name in ("sampler_name", "method")]
    return replace(run, sampler=SAMPLER_CLASSES.get(kind) or named[0] or named[1] or kind)


def with_sigmas(graph: Graph, node: Node, world: World, run: Run) -> Run:
    """Adds schedule and steps, or exact sigmas, and the part of them that is taken."""
    found = follow(graph, node.links.get("sigmas"), world)
    if not found:
        return run
    node, output = found
    if node.kind in ("SplitSigmas", "SetFirstSigma"):
        run = with_sigmas(graph, node, world, run)
        step = value_of(graph, node, "step", world)
        if node.kind == "SplitSigmas" and isinstance(step, int) and isinstance(run.steps, int):
            return replace(run, part=(0, step) if output == 0 else (step, run.steps))
        return run
    if node.kind == "ManualSigmas":
        sigmas = numbers(value_of(graph, node, "sigmas", world))
        return replace(run, sigmas=sigmas, steps=max(len(sigmas) - 1, 0) or None, schedule="manual")
    if node.kind.startswith("FewStepLoad"):
        return replace(run, schedule="fewstep", steps=value_of(graph, node, "steps", world))
    schedule = value_of(graph, node, "scheduler", world) or value_of(graph, node, "schedule", world) or node.kind
    denoise = value_of(graph, node, "denoise", world) if "denoise" in (*node.values, *node.links) else 1.0
    return replace(run, schedule=schedule, steps=value_of(graph, node, "steps", world), denoise=denoise)


def numbers(text: Any) -> tuple[float, ...]:
    """The figures of a list of sigmas written as text."""
    return tuple(map(float, re.findall(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", text))) if isinstance(text, str) else ()
