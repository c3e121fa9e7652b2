"""Sheets of images with a label for each row and column; one LoRA at several strengths and numbers of steps."""

import torch
from torch import Tensor
from torch.nn import functional

from ..host import folders, pictures, sampling
from ..host.loading import loras
from ..host.loading.sampler import sampler_for
from ..host.progress import Progress, throw_if_cancelled
from ..training.checks import require
from ..weights import bases, families
from .load import FAMILY, LORA_FILE, check_match, ours_first, settings_of, unknown
from .widgets import NEGATIVE, POSITIVE, numbers, seed, socket, text
from .wrapper import about

MOST = 64  # cells


class FewStepStrengthSheet:
    TITLE = "FewStep Strength Sheet"
    DESCRIPTION = (
        "A few-step LoRA at several strengths and numbers of steps, from the same noise, with the sampler and schedule "
        "it was made for: a sheet of images, and what was measured on them."
    )
    SEARCH_ALIASES = ["compare", "grid", "xy plot", "strength", "lcm", "hyper-sd"]
    CATEGORY = "FewStep/sampling"
    FUNCTION = "draw"
    RETURN_TYPES = ("IMAGE", "IMAGE", "STRING")
    RETURN_NAMES = ("sheet", "images", "table")
    OUTPUT_TOOLTIPS = (
        "A row for each strength, a column for each number of steps.",
        "The same images as a batch.",
        "Mean, contrast and saturation of each cell.",
    )

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "model": socket("MODEL", "The base, without the LoRA."),
                "lora_name": ours_first(folders.names("loras")),
                "strengths": text("A row for each.", default="0.6, 0.8, 1, 1.2"),
                "steps": text("A column for each.", default="1, 2, 4, 8"),
                "positive": POSITIVE,
                "negative": NEGATIVE,
                "latent_image": socket("LATENT", "As many images in a cell as it holds."),
                "noise_seed": seed("Of the noise that every cell starts from."),
                "vae": socket("VAE", "To see the images."),
            },
            "optional": {"lora_file": LORA_FILE, "family": FAMILY},
        }

    def draw(
        self,
        model,
        lora_name,
        strengths,
        steps,
        positive,
        negative,
        latent_image,
        noise_seed,
        vae,
        lora_file="",
        family=families.AUTO,
    ):
        rows, columns = span(strengths, float, "strengths", -10, 10), span(steps, int, "steps", 1, 50)
        require(len(rows) * len(columns) <= MOST, f"{len(rows)} x {len(columns)} cells are over {MOST}. Take fewer.")
        name = lora_file or lora_name
        tensors, settings = few_step_lora(model, name, family, max(columns), "FewStepStrengthSheet")
        cells, lines, progress = [], [], Progress(len(rows) * len(columns))
        for strength in rows:
            patched = loras.apply(model, None, tensors, strength)[0]
            plans = [sampler_for(patched, settings, count) for count in columns]  # refusals before any cell is drawn
            for count, (sampler, sigmas) in zip(columns, plans):
                throw_if_cancelled()
                parts = noise_seed, settings.cfg, positive, negative, sampler, sigmas, latent_image
                cells.append(drawn(patched, vae, *parts))
                lines.append({"strength": strength, "steps": count, **measured(cells[-1])})
                progress.show(len(cells))
        labels = [f"{settings.family[:12]} {strength:g}" for strength in rows]
        heads = [f"{count} step{'s' * (count > 1)}" for count in columns]
        return sheet(labels, cells, heads), torch.cat(cells), table(lines)


def drawn(model, vae, *parts) -> Tensor:
    """Images [b, h, w, 3] in 0..1. parts: what sampling.sample_custom takes after the MODEL."""
    return pictures.decoded(vae, sampling.sample_custom(model, *parts)["samples"])


def few_step_lora(model, name: str, family: str, steps: int, node: str) -> tuple[dict[str, Tensor], families.Settings]:
    """(tensors as this MODEL takes them, the settings the file was made for). ValueError where either is unclear."""
    tensors, metadata = loras.read(name, node)
    found = settings_of(name, metadata) if family == families.AUTO else families.named(family, steps, name)
    with about(name):
        bases.refuse_other_base(bases.base_of(tensors), loras.base_of(model), False)
        settings = found or unknown()
        tensors = loras.fitted(model, tensors)
        check_match(loras.match(model, None, tensors))
        loras.check_shapes(model, tensors)
    return tensors, settings


def span(text: str, kind: type, name: str, low: float, high: float) -> list:
    """Different numbers of a list, in its order."""
    found = list(dict.fromkeys(numbers(text, kind, name)))
    require(1 <= len(found) <= 16, f"{name} needs 1 to 16 numbers, got {len(found)}.")
    require(all(low <= value <= high for value in found), f"{name} must lie in {low}..{high}, got {text!r}.")
    return found


def measured(images: Tensor) -> dict[str, float]:
    """Mean, contrast and saturation of images [b, h, w, 3]."""
    saturation = images.amax(-1) - images.amin(-1)
    return {"mean": float(images.mean()), "std": float(images.std()), "saturation": float(saturation.mean())}


def table(rows: list[dict[str, float | str]]) -> str:
    """The rows as Markdown."""
    head = " | ".join(rows[0])
    lines = [" | ".join(v if isinstance(v, str) else f"{v:.4g}" for v in row.values()) for row in rows]
    return "\n".join([f"| {line} |" for line in (head, " | ".join("---" for _ in rows[0]), *lines)])


def fitting(images: Tensor, side: int) -> Tensor:
    """Images [b, h, w, 3] whose longer side is at most so many pixels; 0: as they are."""
    longer = max(images.shape[1:3])
    if not side or longer <= side:
        return images
    size = [max(round(length * side / longer), 1) for length in images.shape[1:3]]
    return functional.interpolate(images.movedim(-1, 1), size, mode="area").movedim(1, -1)


def sheet(labels: list[str], cells: list[Tensor], heads=("",), feet=()) -> Tensor:
    """The pack's sheet as an IMAGE."""
    return pictures.as_tensor(pictures.sheet(labels, cells, heads, feet))


NODES = (FewStepStrengthSheet,)
