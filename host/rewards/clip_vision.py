"""CLIP similarity through the host's own CLIP and CLIP_VISION, when both are halves of one model."""

from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor, nn

from ...training.checks import require
from ...training.rewards import CLIP, ClipSimilarity
from .. import model_copy
from ..sockets import Clip
from .offload import offloaded

PARTS = ("clip_g", "clip_h", "clip_l")
PAIRS = (
    "768 wide: clip_l.safetensors and CLIP-ViT-L-14; 1024: SD2's text encoder and CLIP-ViT-H-14; "
    "1280: SDXL's and CLIP-ViT-bigG-14"
)


def similarity(clip: Clip, clip_vision, node: str) -> ClipSimilarity:
    """The reward. Raises ValueError where the two have no common space."""
    name, encoder = text_encoder(clip, node)
    vision = clip_vision.model
    projection = getattr(vision, "visual_projection", None)
    require(
        isinstance(getattr(projection, "weight", None), Tensor) and hasattr(vision, "vision_model"),
        f"{node}: clip_vision is no CLIP (SigLIP and DINO have no text half). Load a CLIP-ViT.",
    )
    check_projection(encoder, node)
    widths = encoder.transformer.text_projection.weight.shape[0], projection.weight.shape[0]
    require(
        widths[0] == widths[1],
        f"{node}: the text features are {widths[0]} wide, the image features {widths[1]}: halves of two models. "
        f"Pairs that fit, {PAIRS}.",
    )
    image = cache(lambda: offloaded(model_copy.to_trainable(vision, torch.float32).eval()))
    pixels = tuple(getattr(clip_vision, "image_mean", CLIP[0])), tuple(getattr(clip_vision, "image_std", CLIP[1]))
    return ClipSimilarity(
        f"CLIP similarity ({name}, {widths[0]} wide)",
        partial(image_features, image),
        partial(text_features, clip, encoder, name[-1]),
        side(vision),
        pixels,
    )


def text_encoder(clip: Clip, node: str) -> tuple[str, nn.Module]:
    """The host's CLIP text model and its name; SDXL's larger one, whose features its image half knows."""
    for name in PARTS:
        encoder = getattr(clip.cond_stage_model, name, None)
        if encoder is not None and hasattr(encoder.transformer, "text_projection"):
            return name, encoder
    raise ValueError(f"{node}: clip holds no CLIP text model (T5 and language models have no image half). {PAIRS}.")


def check_projection(encoder: nn.Module, node: str) -> None:
    """Refuse a text encoder that came without its projection.

    Hosts then hold an identity (0.0.1) or whatever the memory held (later ones), most often zeros; a trained projection
    of width w has entries of about 1 / sqrt(w).
    """
    weight = encoder.transformer.text_projection.weight.detach().float().cpu()
    scale = float(weight.square().mean().sqrt()) * len(weight) ** 0.5
    eye = torch.equal(weight, torch.eye(len(weight)))
    require(
        not eye and 0.05 < scale < 20,
        f"{node}: this text encoder has no text projection, as in every SD1.5 checkpoint: its features lie in another "
        f"space than the picture's. Load the whole text model with a CLIP loader ({PAIRS}).",
    )


def side(vision: nn.Module) -> int:
    """Pixels of the side of the pictures that the network takes, from its positions and patches."""
    embeddings = vision.vision_model.embeddings
    patches = round((embeddings.position_embedding.weight.shape[0] - 1) ** 0.5)
    return patches * embeddings.patch_embedding.weight.shape[-1]


def image_features(network: Callable[[], nn.Module], pixels: Tensor) -> Tensor:
    """[b, d] projected features of a copy of the network: the stock entry point rounds pixels and cuts the gradient."""
    return network().to(pixels.device)(pixels, intermediate_output=-2)[2]


def text_features(clip: Clip, encoder: nn.Module, letter: str, prompts: list[str]) -> Tensor:
    """[b, d] projected features, a prompt at a time as the host encodes them."""
    clip.load_model()
    encoder.set_clip_options({"projected_pooled": True, "execution_device": clip.patcher.load_device})
    try:
        features = [encoder.encode_token_weights(clip.tokenize(prompt)[letter])[1] for prompt in prompts]
    finally:
        encoder.reset_clip_options()
    return torch.cat(features).float().cpu()
