"""What lies between two LoRAs: one row of pictures and one row of numbers per lambda."""

import torch
from torch import Tensor

from ..host import folders, sampling
from ..host.loading import loras
from ..host.progress import Progress, throw_if_cancelled
from ..weights import merge
from .merge import RANK, parent, summed
from .sheets import measured as look
from .sheets import sheet, span, table

NODE = "FewStepMergeSweep"


class FewStepMergeSweep:
    TITLE = "FewStep Merge Sweep"
    DESCRIPTION = (
        "lambda A + (1 - lambda) B of two LoRAs for several lambdas: a sheet of pictures from the same noise, and what "
        "was measured on them."
    )
    CATEGORY = "FewStep/merging"
    FUNCTION = "sweep"
    RETURN_TYPES = ("IMAGE", "IMAGE", "STRING")
    RETURN_NAMES = ("sheet", "images", "table")

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "model": ("MODEL", {"tooltip": "The base of both LoRAs."}),
                "lora_a": (folders.names("loras"), {"tooltip": "lambda 1."}),
                "lora_b": (folders.names("loras"), {"tooltip": "lambda 0."}),
                "weights": ("STRING", {"default": "0, 0.25, 0.5, 0.75, 1", "tooltip": "The lambdas, up to 16."}),
                "rank": ("INT", RANK),
                "positive": ("CONDITIONING",),
                "negative": ("CONDITIONING", {"tooltip": "Has no effect at cfg 1."}),
                "latent_image": ("LATENT", {"tooltip": "As many pictures in a row as it holds."}),
                "sampler": ("SAMPLER", {"tooltip": "From FewStep Load LoRA or FewStep Sampler."}),
                "sigmas": ("SIGMAS", {"tooltip": "From the same, or FewStep Schedule."}),
                "cfg": ("FLOAT", {"default": 1.0, "min": 0.0, "max": 30.0, "step": 0.1, "tooltip": "1 if distilled."}),
                "noise_seed": (
                    "INT",
                    {
                        "default": 0,
                        "min": 0,
                        "max": 2**64 - 1,
                        "control_after_generate": True,
                        "tooltip": "Of the noise that every lambda starts from.",
                    },
                ),
                "vae": ("VAE", {"tooltip": "To see the pictures."}),
            },
            "optional": {
                "file_a": ("STRING", {"forceInput": True, "tooltip": "The lora_name of FewStep Distill, for lora_a."}),
                "file_b": ("STRING", {"forceInput": True, "tooltip": "The same, instead of lora_b."}),
            },
        }

    def sweep(self, model, lora_a, lora_b, weights, rank, vae, file_a="", file_b="", **settings):
        wanted = span(weights, float, "weights", -10, 10)
        a, b = (parent(name, NODE) for name in (file_a or lora_a, file_b or lora_b))
        drawn, norms = {}, {}
        every = list(dict.fromkeys([*wanted, 1.0, 0.0]))  # the parents themselves, to measure against
        progress = Progress(len(every))
        for done, weight in enumerate(every, 1):
            throw_if_cancelled()
            merged, _ = summed(NODE, [(a, weight), (b, 1 - weight)], rank)
            norms[weight] = norm_of(merged)
            drawn[weight] = draw(loras.apply(model, None, merge.to_file(merged), 1.0)[0], vae, settings)
            progress.show(done)
        rows = [measured(weight, drawn, norms) for weight in wanted]
        labels, cells = [f"lambda {weight:g}" for weight in wanted], [drawn[weight] for weight in wanted]
        return sheet(labels, cells), torch.cat(cells), table(rows)


def draw(model, vae, settings: dict) -> Tensor:
    """Pictures [b, h, w, 3] in 0..1 of one merge; the noise is the same for all."""
    order = ("noise_seed", "cfg", "positive", "negative", "sampler", "sigmas", "latent_image")
    latent = sampling.sample_custom(model, *(settings[name] for name in order))
    return vae.decode(latent["samples"]).float().cpu().clamp(0, 1)


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
