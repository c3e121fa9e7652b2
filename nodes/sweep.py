"""What lies between two LoRAs: one row of pictures and one row of numbers per lambda."""

import torch
from torch import Tensor

from ..host import folders
from ..host.loading import loras
from ..host.progress import Progress, throw_if_cancelled
from ..weights import merge
from .merge import FILES, RANK, parent, summed
from .sheets import drawn as drawn_of
from .sheets import measured as look
from .sheets import sheet, span, table
from .widgets import NEGATIVE, POSITIVE, choice, number, seed, socket, text

NODE, LAMBDAS = "FewStepMergeSweep", "0, 0.25, 0.5, 0.75, 1"


class FewStepMergeSweep:
    TITLE = "FewStep Merge Sweep"
    DESCRIPTION = (
        "lambda A + (1 - lambda) B of two LoRAs for several lambdas: a sheet of pictures from the same noise, and what "
        "was measured on them."
    )
    SEARCH_ALIASES = ["merge lora", "lora merge", "grid", "compare loras", "xy plot"]
    CATEGORY = "FewStep/merging"
    FUNCTION = "sweep"
    RETURN_TYPES = ("IMAGE", "IMAGE", "STRING")
    RETURN_NAMES = ("sheet", "images", "table")
    OUTPUT_TOOLTIPS = (
        "A labelled row of images for each lambda.",
        "The same images as a batch.",
        "Norm, mean, contrast, saturation, and how far from A and B.",
    )

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "model": socket("MODEL", "The base of both LoRAs, without them."),
                "lora_a": choice("lambda 1.", folders.names("loras")),
                "lora_b": choice("lambda 0.", folders.names("loras")),
                "weights": text("The lambdas, 1 to 16 of them; below 0 and above 1 goes beyond.", default=LAMBDAS),
                "rank": RANK,
                "positive": POSITIVE,
                "negative": NEGATIVE,
                "latent_image": socket("LATENT", "As many images in a row as it holds."),
                "sampler": socket("SAMPLER", "From FewStep Load LoRA or FewStep Sampler."),
                "sigmas": socket("SIGMAS", "From the same, or FewStep Schedule."),
                "cfg": number((0.0, 30.0, 0.1), "1 for distilled LoRAs.", default=1.0),
                "noise_seed": seed("Of the noise that every lambda starts from."),
                "vae": socket("VAE", "To see the images."),
            },
            "optional": FILES,
        }

    def sweep(self, model, lora_a, lora_b, weights, rank, vae, file_a="", file_b="", **settings):
        wanted = span(weights, float, "weights", -10, 10)
        a, b = (parent(name, NODE) for name in (file_a or lora_a, file_b or lora_b))
        drawn, norms = {}, {}
        every = list(dict.fromkeys([*wanted, 1.0, 0.0]))  # the parents themselves, to measure against
        progress = Progress(len(every))
        for done, weight in enumerate(every, 1):
            throw_if_cancelled()
            merged, _ = summed([(a, weight), (b, 1 - weight)], rank)
            norms[weight] = norm_of(merged)
            drawn[weight] = draw(loras.apply(model, None, merge.to_file(merged), 1.0)[0], vae, settings)
            progress.show(done)
        rows = [measured(weight, drawn, norms) for weight in wanted]
        labels, cells = [f"lambda {weight:g}" for weight in wanted], [drawn[weight] for weight in wanted]
        return sheet(labels, cells), torch.cat(cells), table(rows)


def draw(model, vae, settings: dict) -> Tensor:
    """Pictures [b, h, w, 3] in 0..1 of one merge; the noise is the same for all."""
    order = ("noise_seed", "cfg", "positive", "negative", "sampler", "sigmas", "latent_image")
    return drawn_of(model, vae, *(settings[name] for name in order))


def norm_of(merged: dict[str, merge.Delta]) -> float:
    """Frobenius norm of the whole delta."""
    return sum(float(delta.dense().square().sum()) for delta in merged.values()) ** 0.5


def measured(weight: float, drawn: dict, norms: dict) -> dict[str, float]:
    """The delta's norm by A's, the pictures' mean, contrast and saturation, and how far they are from A's and B's."""
    pictures = drawn[weight]
    return {
        "lambda": weight,
        "norm": norms[weight] / max(norms[1.0], 1e-12),
        **look(pictures),
        "to A": float((pictures - drawn[1.0]).abs().mean()),
        "to B": float((pictures - drawn[0.0]).abs().mean()),
    }


NODES = (FewStepMergeSweep,)
