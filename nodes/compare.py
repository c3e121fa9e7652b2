"""A labelled grid over what may differ between two ways of sampling, and what each of them costs."""

import itertools
import time
from dataclasses import dataclass, replace
from pathlib import PurePath

import torch
from torch import Tensor

from ..host import sampling
from ..host.loading import loras
from ..host.loading.sampler import attach, sampler_for
from ..host.loading.stock_sampling import with_shift
from ..host.pictures import decoded
from ..host.progress import Progress, throw_if_cancelled
from ..samplers.registry import SAMPLERS
from ..training.checks import require
from ..weights import families
from .load import FAMILY
from .sample import settings_for
from .sheets import few_step_lora, fitting, measured, sheet, span, table
from .widgets import AUTO, NEGATIVE, POSITIVE, socket, text, whole

NODE, MOST = "FewStepCompare", 64  # cells
NO_LORA = "none"


@dataclass(frozen=True)
class Column:
    """One way of sampling: by name what it is, and what it takes."""

    named: dict[str, str]
    model: object
    sampler: object
    sigmas: Tensor
    cfg: float


class FewStepCompare:
    TITLE = "FewStep Compare"
    DESCRIPTION = (
        "Samplers x steps x cfg x eta x LoRAs (or saved steps of a run) x strengths as columns, seeds as rows: a "
        "labelled sheet, with seconds and network passes under each picture."
    )
    SEARCH_ALIASES = ["compare", "grid", "xy plot", "x/y/z plot", "sampler", "steps", "lora", "benchmark"]
    CATEGORY = "FewStep/sampling"
    FUNCTION = "draw"
    RETURN_TYPES = ("IMAGE", "IMAGE", "STRING")
    RETURN_NAMES = ("sheet", "images", "table")
    OUTPUT_TOOLTIPS = (
        "A row for each seed, a column for each way of sampling.",
        "The same images as a batch, as they were drawn.",
        "Seconds, passes, mean, contrast and saturation of each column.",
    )

    @classmethod
    def INPUT_TYPES(cls):
        which = f"By commas: auto (as the model or LoRA was made for), {', '.join(SAMPLERS)}."
        files = (
            f"A name in a loras folder on each line, {NO_LORA} for the model as it is. Or connect lora_names of "
            "FewStep Export Steps."
        )
        many = {"multiline": True, "default": NO_LORA}
        return {
            "required": {
                "model": socket("MODEL", "With a few-step LoRA on it, or the base of the loras below."),
                "positive": POSITIVE,
                "negative": NEGATIVE,
                "latent_image": socket("LATENT", "As many images in a cell as it holds."),
                "vae": socket("VAE", "To see the images."),
                "samplers": text(which, default=AUTO),
                "steps": text("Numbers of steps by commas.", default="1, 2, 4, 8"),
                "cfgs": text("By commas. 0: what the model was made for.", default="0"),
                "etas": text("By commas, for the sampler tcd. auto: what the model was made for.", default=AUTO),
                "loras": text(files, **many),
                "strengths": text("Of the loras, by commas.", default="1"),
                "seeds": text("A row for each, by commas.", default="0, 1"),
            },
            "optional": {
                "family": FAMILY,
                "cell_size": whole(
                    4096, "Pixels of a cell's longer side in the sheet. 0: as drawn.", 0, default=512, advanced=True
                ),
            },
        }

    def draw(self, model, positive, negative, latent_image, vae, seeds, cell_size=512, **axes):
        rows = [int(seed) for seed in span(seeds, int, "seeds", 0, 2**64 - 1)]
        columns = columns_of(model, latent_image, **axes)
        require(
            len(rows) * len(columns) <= MOST,
            f"{len(rows)} seeds x {len(columns)} columns are over {MOST} cells. Take fewer.",
        )
        progress, drawn = Progress(len(rows) * len(columns)), []
        for column in columns:
            sampling.load(column.model)  # so that no cell's seconds hold the loading
            for seed in rows:
                throw_if_cancelled()
                drawn.append(cell(column, seed, positive, negative, latent_image, vae))
                progress.show(len(drawn))
        by_row = [drawn[c * len(rows) + r] for r in range(len(rows)) for c in range(len(columns))]
        heads = heads_of(columns)
        feet = [f"{seconds:.2f} s\n{passes:g} pass{'es' * (passes != 1)}" for _, seconds, passes in by_row]
        cells = [fitting(images, cell_size) for images, _, _ in by_row]
        page = sheet([f"seed {seed}" for seed in rows], cells, heads, feet)
        return page, torch.cat([images for images, _, _ in by_row]), lines_of(heads, drawn, len(rows))


def columns_of(model, latent, samplers, steps, cfgs, etas, loras, strengths, family=families.AUTO) -> list[Column]:
    """Every combination; refusals come here, before anything is drawn."""
    kinds = words(samplers, "samplers", [AUTO, *SAMPLERS])
    counts, scales = span(steps, int, "steps", 1, 50), span(cfgs, float, "cfgs", 0, 30)
    chosen = [AUTO] if etas.strip() == AUTO else span(etas, float, "etas", 0, 1)
    columns = []
    for (name, of_it, strength), kind, count, scale, eta in itertools.product(
        patched(model, loras, strengths, family, max(counts)), kinds, counts, scales, chosen
    ):
        settings, _ = settings_for(of_it, kind, 0.0 if eta == AUTO else eta, count, scale)
        if eta != AUTO:
            takes = settings.sampler in SAMPLERS and "eta" in SAMPLERS[settings.sampler].options
            require(takes, f"etas: the sampler {settings.sampler} has none. Write {AUTO}, or take tcd alone.")
            settings = replace(settings, eta=eta)
        sampler, sigmas = sampler_for(of_it, settings, count, 1.0, latent.get("batch_index"))
        named = {
            "lora": name,
            "strength": f"{strength:g}" if strength is not None else "",
            "sampler": f"{AUTO} ({settings.sampler})" if kind == AUTO else kind,
            "steps": f"{count} step{'s' * (count > 1)}",
            "cfg": f"cfg {scale or settings.cfg:g}",
            "eta": "" if eta == AUTO else f"eta {eta:g}",
        }
        columns.append(Column(named, of_it, sampler, sigmas, scale or settings.cfg))
    return columns


def patched(model, names: str, strengths: str, family: str, steps: int) -> list[tuple]:
    """[(name, MODEL, strength)]: each LoRA at each strength; the model as it is once."""
    listed = list(dict.fromkeys(line.strip() for line in names.splitlines() if line.strip())) or [NO_LORA]
    require(len(listed) <= 16, f"loras names {len(listed)} files. At most 16 fit.")
    wanted, found = span(strengths, float, "strengths", -10, 10), []
    for name in listed:
        if name == NO_LORA:
            found.append((NO_LORA, model, None))
            continue
        tensors, settings = few_step_lora(model, name, family, steps, NODE)
        base = with_shift(model, settings)
        for strength in wanted:
            on_it = attach(loras.apply(base, None, tensors, strength)[0], settings, strength)
            found.append((PurePath(name.replace("\\", "/")).stem, on_it, strength))
    return found


def words(given: str, name: str, known: list[str]) -> list[str]:
    found = list(dict.fromkeys(given.replace(",", " ").split()))
    unknown = [word for word in found if word not in known]
    require(bool(found) and not unknown, f"{name} takes {', '.join(known)}, got {given!r}.")
    return found


def cell(column: Column, seed: int, positive, negative, latent, vae) -> tuple[Tensor, float, float]:
    """(images, seconds of sampling, network passes for a picture)."""
    with sampling.counted(column.model) as passes:
        start = time.perf_counter()
        found = sampling.sample_custom(
            column.model, seed, column.cfg, positive, negative, column.sampler, column.sigmas, latent
        )
        sampling.finish()
        seconds = time.perf_counter() - start
    return decoded(vae, found["samples"]), seconds, passes.rows / max(len(found["samples"]), 1)


def heads_of(columns: list[Column]) -> list[str]:
    """What differs between the columns, a line each; the sampler and steps where nothing does."""
    differing = [key for key in columns[0].named if len({column.named[key] for column in columns}) > 1]
    shown = differing or ["sampler", "steps"]
    return ["\n".join(filter(None, (column.named[key] for key in shown))) for column in columns]


def lines_of(heads: list[str], drawn: list[tuple], rows: int) -> str:
    """A line of numbers for each column, over its seeds."""
    lines = []
    for number, head in enumerate(heads):
        cells = drawn[number * rows : (number + 1) * rows]
        images = torch.cat([images for images, _, _ in cells])
        means = {"seconds": sum(s for _, s, _ in cells) / rows, "passes": sum(p for _, _, p in cells) / rows}
        lines.append({"column": head.replace("\n", ", "), **means, **measured(images)})
    return table(lines)


NODES = (FewStepCompare,)
