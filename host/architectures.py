"""The families of models that the pack knows, a row each: whatever asks "which family" reads it here.

A new family is a new row. One that can be trained has a Network (networks.py).
"""

from dataclasses import dataclass, field

from torch import Tensor

from ..training.checks import require
from ..weights import bases
from .networks import COSMOS, FLUX, MMDIT, QWEN, UNET, WAN, Z_IMAGE, Network
from .sockets import Model


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
    repeats_text: bool  # texts of unequal length are repeated to a common one; else each keeps its own
    # What its CONDITIONING may carry beside text and pooled_output.
    numbers: dict[str, type] = field(default_factory=dict)
    # The host's keywords that have an entry for each token; those after the first are in its CONDITIONING's options.
    texts: tuple[str, ...] = ("c_crossattn",)
    heeds_mask: bool = True  # whether the network is shown which tokens of a text are padding
    tells_length: str = ""  # the keyword by which it is told how long a text is; "" where it reads that itself
    # Whether the host's subclasses are trained too; Wan's read pictures, poses or sound as well.
    subclasses: bool = True
    modelspec: str = ""  # modelspec.architecture; "" for what is not trained
    network: Network | None = None  # None: it is loaded and sampled, not trained


SIZES = ("width", "height", "crop_w", "crop_h", "target_width", "target_height")  # as the host's SDXL calls them


def sd(base: str, *host_classes: str, modelspec: str = "stable-diffusion-v1", **more) -> Architecture:
    """A U-Net of SD1.5's kind."""
    latents = Latents(channels=4, pixels=8, dimensions=2)
    unet = {"latents": latents, "repeats_text": True, "modelspec": modelspec, "network": UNET}
    return Architecture(base=base, host_classes=host_classes, **unet, **more)


def sdxl(base: str, *host_classes: str) -> Architecture:
    """SDXL, or a U-Net of its width that was cut from it."""
    return sd(base, *host_classes, modelspec="stable-diffusion-xl-v1-base", numbers=dict.fromkeys(SIZES, int))


def joint(base: str, *host_classes: str, latents: Latents, **more) -> Architecture:
    """A transformer, where every text keeps its own length; one without a network is loaded, not trained."""
    return Architecture(base=base, host_classes=host_classes, latents=latents, repeats_text=False, **more)


SD3_LATENTS = Latents(channels=16, pixels=8, dimensions=2)
WAN_LATENTS = Latents(channels=16, pixels=8, dimensions=3)
LTX_LATENTS = Latents(channels=128, pixels=32, dimensions=3)

ROWS = (
    sd(bases.TINY, "FewStepTinySD"),
    sd("SD1.5", "SD15"),
    sd("SD2.x", "SD20", modelspec="stable-diffusion-v2-768-v"),
    sd("the SDXL refiner", "SDXLRefiner", modelspec="stable-diffusion-xl-v1-refiner"),
    sdxl("SDXL", "SDXL"),
    sdxl("SSD-1B", "SSD1B"),
    sdxl("Segmind Vega", "Segmind_Vega"),
    sdxl("KOALA", "KOALA_700M", "KOALA_1B"),
    joint("SD3", "SD3", latents=SD3_LATENTS, modelspec="stable-diffusion-3", network=MMDIT),
    joint("Flux", "Flux", latents=SD3_LATENTS, modelspec="flux-1-dev", network=FLUX, numbers={"guidance": float}),
    joint(
        "FLUX.2",
        "Flux2",
        latents=Latents(channels=128, pixels=16, dimensions=2),
        modelspec="Flux.2-klein",
        heeds_mask=False,
        network=FLUX,
        numbers={"guidance": float},
    ),
    joint("Qwen-Image", "QwenImage", latents=WAN_LATENTS, modelspec="Qwen-Image", network=QWEN),
    joint("Z-Image", "ZImage", latents=SD3_LATENTS, modelspec="Z-Image", network=Z_IMAGE, tells_length="num_tokens"),
    joint("Wan", "WAN21_T2V", latents=WAN_LATENTS, modelspec="wan2.1", network=WAN, subclasses=False),
    joint(
        "Wan 2.2 5B",
        "WAN22_T2V",
        latents=Latents(channels=48, pixels=16, dimensions=3),
        modelspec="wan2.2",
        network=WAN,
        subclasses=False,
    ),
    joint(
        "Anima",
        "Anima",
        latents=WAN_LATENTS,
        texts=("c_crossattn", "t5xxl_ids", "t5xxl_weights"),  # hidden states, and the tokens that its adapter asks for
        heeds_mask=False,
        modelspec="anima-preview",
        network=COSMOS,
    ),
    joint("LTX-2", "LTXAV", latents=LTX_LATENTS),
    joint("LTX-Video", "LTXV", latents=LTX_LATENTS),
)

TEXTS = {name for row in ROWS for name in row.texts[1:]}  # what a text's options may hold


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


def is_trained(model: Model) -> bool:
    """Whether the MODEL's family has a network, and its class is one of those that are trained, over its latents."""
    row = find(model)
    return row is not None and row.network is not None and not other_class(model) and has_the_rows_latents(model)


def other_class(model: Model) -> str:
    """The host's class of a MODEL that is a subclass of its row's and not trained as these are; else ""."""
    row, kind = find(model), type(model.model.model_config).__name__
    return "" if row is None or row.subclasses or kind in row.host_classes else kind


def has_the_rows_latents(model: Model) -> bool:
    """Whether the host's latents are the row's."""
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


def texts_of(model: Model) -> tuple[str, ...]:
    """The host's keywords that have an entry for each token of a text."""
    row = find(model)
    return row.texts if row is not None else ("c_crossattn",)
