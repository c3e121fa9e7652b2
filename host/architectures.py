"""The families of models that the pack knows, a row each: whatever asks "which family" reads it here.

A new family is a new row. One that can be trained has a Network: its blocks, and which of its layers carry a LoRA.
"""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from ..training.checks import require
from ..weights import bases
from .sockets import Model


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """Blocks of a network, in the order of the forward pass, under one of its names: a list of them, or one."""

    name: str
    layered: bool  # whether a block is a sequence of layers, which the host calls one by one
    # What of a block's output is the image: all of it, or that entry; None where text and image are one row of tokens,
    # at which no discriminator looks.
    image: Literal["output"] | int | None


@dataclass(frozen=True, kw_only=True)
class Network:
    """What training reads of a kind of network."""

    blocks: tuple[Blocks, ...]
    # A LoRA's names in its file: diffusers', by the host's table, or the host's own for what lies in blocks. Every
    # Linear and Conv2d that has such a name gets a LoRA, but for those whose name begins as one of without_lora.
    names: Literal["diffusers", "host"]
    without_lora: tuple[str, ...]
    groups: dict[str, tuple[str, ...]]  # what the user may call some of the layers: parts of their names in the file
    full_weights: bool  # whether every weight of a student can be trained
    guidance_layer: str  # the Linear that LCM's guidance embedding goes into; "" where there is none
    fp32_layer: str  # runs in fp32 also in half precision, since x0 multiplies its rounding errors; "" for none


@dataclass(frozen=True, kw_only=True)
class Latents:
    """An image of h x w pixels is [channels, h / pixels, w / pixels]; of three dimensions, a video of one frame."""

    channels: int
    pixels: int
    dimensions: int


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A family of models."""

    base: str  # its name in weights.bases
    host_classes: tuple[str, ...]  # of comfy.supported_models; a subclass that no row names counts as its parent
    latents: Latents
    numbers: dict[str, type]  # what its CONDITIONING may carry beside text and pooled_output
    repeats_text: bool  # texts of unequal length are repeated to a common one; else each keeps its own
    tells_length: str  # the keyword by which the network is told how long a text is; "" where it reads that itself
    modelspec: str  # modelspec.architecture; "" for what is not trained
    network: Network | None  # None: it is loaded and sampled, not trained


SIZES = ("width", "height", "crop_w", "crop_h", "target_width", "target_height")  # as the host's SDXL calls them

UNET = Network(
    blocks=tuple(
        Blocks(name=name, layered=True, image="output") for name in ("input_blocks", "middle_block", "output_blocks")
    ),
    names="diffusers",
    without_lora=("conv_in", "conv_out", "time_embedding", "add_embedding", "class_embedding"),  # LCM-LoRA's
    groups={
        "attention": ("attn1", "attn2"),
        "feed-forward": ("ff",),
        "convolutions": ("resnets", "downsamplers", "upsamplers"),
    },
    full_weights=True,
    guidance_layer="time_embed.0",
    fp32_layer="out",
)
MMDIT = Network(  # a block gives (text, image)
    blocks=(Blocks(name="joint_blocks", layered=False, image=1),),
    names="host",
    without_lora=(),
    groups={"attention": ("attn",), "feed-forward": ("mlp",)},
    full_weights=False,
    guidance_layer="",
    fp32_layer="",
)
FLUX = Network(  # a double block gives (image, text)
    blocks=(
        Blocks(name="double_blocks", layered=False, image=0),
        Blocks(name="single_blocks", layered=False, image=None),
    ),
    names="host",
    without_lora=(),
    groups={"attention": ("img_attn", "txt_attn"), "feed-forward": ("img_mlp", "txt_mlp")},
    full_weights=False,
    guidance_layer="",
    fp32_layer="",
)
QWEN = Network(  # a block gives (text, image)
    blocks=(Blocks(name="transformer_blocks", layered=False, image=1),),
    names="host",
    without_lora=(),
    groups={"attention": ("attn",), "feed-forward": ("img_mlp", "txt_mlp")},
    full_weights=False,
    guidance_layer="",
    fp32_layer="",
)
Z_IMAGE = Network(  # text and image are refined apart, then run as one row of tokens
    blocks=(
        Blocks(name="context_refiner", layered=False, image=None),
        Blocks(name="noise_refiner", layered=False, image="output"),
        Blocks(name="layers", layered=False, image=None),
    ),
    names="host",
    without_lora=(),
    groups={"attention": ("attention",), "feed-forward": ("feed_forward",)},
    full_weights=False,
    guidance_layer="",
    fp32_layer="",
)


def sd(base: str, *host_classes: str, modelspec: str = "stable-diffusion-v1") -> Architecture:
    """A U-Net of SD1.5's kind."""
    return Architecture(
        base=base,
        host_classes=host_classes,
        latents=Latents(channels=4, pixels=8, dimensions=2),
        numbers={},
        repeats_text=True,
        tells_length="",
        modelspec=modelspec,
        network=UNET,
    )


def sdxl(base: str, *host_classes: str) -> Architecture:
    """SDXL, or a U-Net of its width that was cut from it."""
    return Architecture(
        base=base,
        host_classes=host_classes,
        latents=Latents(channels=4, pixels=8, dimensions=2),
        numbers=dict.fromkeys(SIZES, int),
        repeats_text=True,
        tells_length="",
        modelspec="stable-diffusion-xl-v1-base",
        network=UNET,
    )


def not_trained(base: str, *host_classes: str, channels: int, pixels: int) -> Architecture:
    """A family whose latents are those of videos."""
    return Architecture(
        base=base,
        host_classes=host_classes,
        latents=Latents(channels=channels, pixels=pixels, dimensions=3),
        numbers={},
        repeats_text=False,
        tells_length="",
        modelspec="",
        network=None,
    )


ROWS = (
    sd(bases.TINY, "FewStepTinySD"),
    sd("SD1.5", "SD15"),
    sd("SD2.x", "SD20", modelspec="stable-diffusion-v2-768-v"),
    sd("the SDXL refiner", "SDXLRefiner", modelspec="stable-diffusion-xl-v1-refiner"),
    sdxl("SDXL", "SDXL"),
    sdxl("SSD-1B", "SSD1B"),
    sdxl("Segmind Vega", "Segmind_Vega"),
    sdxl("KOALA", "KOALA_700M", "KOALA_1B"),
    Architecture(
        base="SD3",
        host_classes=("SD3",),
        latents=Latents(channels=16, pixels=8, dimensions=2),
        numbers={},
        repeats_text=False,
        tells_length="",
        modelspec="stable-diffusion-3",
        network=MMDIT,
    ),
    Architecture(
        base="Flux",
        host_classes=("Flux",),
        latents=Latents(channels=16, pixels=8, dimensions=2),
        numbers={"guidance": float},
        repeats_text=False,
        tells_length="",
        modelspec="flux-1-dev",
        network=FLUX,
    ),
    not_trained("Wan", "WAN21_T2V", channels=16, pixels=8),
    Architecture(
        base="Qwen-Image",
        host_classes=("QwenImage",),
        latents=Latents(channels=16, pixels=8, dimensions=3),
        numbers={},
        repeats_text=False,
        tells_length="",
        modelspec="qwen-image",
        network=QWEN,
    ),
    Architecture(
        base="Z-Image",
        host_classes=("ZImage",),
        latents=Latents(channels=16, pixels=8, dimensions=2),
        numbers={},
        repeats_text=False,
        tells_length="num_tokens",
        modelspec="z-image",
        network=Z_IMAGE,
    ),
    not_trained("LTX-2", "LTXAV", channels=128, pixels=32),
    not_trained("LTX-Video", "LTXV", channels=128, pixels=32),
)


def find(model: Model) -> Architecture | None:
    """The row of a MODEL: by the host's class of it, else by the width of text that its U-Net reads."""
    by_class = {name: row for row in ROWS for name in row.host_classes}
    classes = (kind.__name__ for kind in type(model.model.model_config).__mro__)
    base = bases.BY_CONTEXT.get(text_width(model))
    by_width = next((row for row in ROWS if row.base == base), None)
    return next((by_class[name] for name in classes if name in by_class), by_width)


def of(model: Model) -> Architecture:
    """The row of a MODEL. ValueError where there is none."""
    row = find(model)
    require(row is not None, f"The model is of no family that is known here: {', '.join(r.base for r in ROWS)}.")
    return row


def network_of(model: Model) -> Network:
    """What training reads of a MODEL's network. ValueError where it cannot be trained."""
    row = of(model)
    require(row.network is not None, f"{row.base} cannot be trained here, only {', '.join(trained())}.")
    return row.network


def trained(full_weights: bool = False) -> list[str]:
    """The bases that can be trained; full_weights: every weight of them."""
    return [row.base for row in ROWS if row.network and row.network.full_weights >= full_weights]


def text_width(model: Model) -> int | None:
    """Width of the text that a U-Net reads."""
    return model.model.model_config.unet_config.get("context_dim")


def has_the_rows_latents(model: Model) -> bool:
    """Whether the host's latents are the row's: those of Flux 2, whose blocks have Flux's names, are not."""
    ours, theirs = of(model).latents, model.model.latent_format
    said = (
        getattr(theirs, "latent_channels", 4),
        getattr(theirs, "spacial_downscale_ratio", ours.pixels),  # earlier hosts do not say
        getattr(theirs, "latent_dimensions", 2),
    )
    return said == (ours.channels, ours.pixels, ours.dimensions)


def latent_shape(model: Model, height: int, width: int) -> tuple[int, ...]:
    """[c, h, w] of the latent of an image, whose size is in pixels; [c, 1, h, w] where the model makes videos."""
    latents = of(model).latents
    frames = (1,) * (latents.dimensions - 2)
    return latents.channels, *frames, height // latents.pixels, width // latents.pixels


def image_size(model: Model, shape: tuple[int, ...]) -> tuple[int, int]:
    """(height, width) in pixels of a latent [c, h, w] or [c, frames, h, w]."""
    pixels = of(model).latents.pixels
    return shape[-2] * pixels, shape[-1] * pixels


def with_frames(model: Model, latents: Tensor) -> Tensor:
    """Latents [b, c, h, w] as [b, c, 1, h, w] where the model makes videos; others as they are."""
    return latents.unsqueeze(2) if latents.ndim < 2 + of(model).latents.dimensions else latents


def told_length(model: Model, cond: dict[str, Tensor]) -> dict[str, int]:
    """What the network is told of the length of its text, as a keyword of `apply_model` beside cond's."""
    row = find(model)
    return {row.tells_length: cond["c_crossattn"].shape[1]} if row is not None and row.tells_length else {}
