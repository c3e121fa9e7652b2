"""The LiT reward: small heads, trained here, on two towers out of packages. It is not CLIP and gives no CLIP score.

Locked-image-text tuning (Zhai et al. 2022): both towers stay as they are and only what joins them is learnt. The heads
that come with the pack were trained on emoji, for the tiny base (benchmarks/rewards).
"""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

from torch import Tensor
from torch.nn import functional as F

from ...training.checks import require
from ...training.rewards import IMAGENET, ClipSimilarity
from ...weights import io
from .. import folders
from . import encoders

HEADS = folders.ASSETS / "rewards"
NEEDS = ("image_tower", "text_tower", "size")  # of the file's metadata


def names() -> list[str]:
    """Files of heads: the pack's own, then the user's."""
    own = [path.name for path in sorted(HEADS.glob("*.safetensors"))]
    root = folders.reward_folder()
    return own + [path.name for path in sorted(root.glob("lit-*.safetensors")) if path.name not in own]


def similarity(name: str, node: str) -> ClipSimilarity:
    """The reward of a file of heads. Raises ValueError when a tower's package is not installed."""
    path = next((place for place in places(name, node) if place.is_file()), None)
    known = "the pack's assets/rewards or models/fewstep_rewards"
    require(path is not None, f'{node}: there is no "{name}" in {known}. Refresh the list.')
    tensors, metadata = io.load(path)
    lacking = [key for key in NEEDS if key not in metadata]
    require(not lacking, f'{node}: "{name}" is no file of LiT heads: its metadata has no {", ".join(lacking)}.')
    image_tower, text_tower = metadata["image_tower"], metadata["text_tower"]
    require(
        text_tower == "all-MiniLM-L6-v2" and image_tower in encoders.EFFICIENTNETS,
        f'{node}: "{name}" is for towers that are not known here: {image_tower} and {text_tower}.',
    )
    encoders.require_lit(image_tower, node)
    return ClipSimilarity(
        f"LiT score ({name}: {text_tower} and {image_tower})",
        partial(image_features, cache(lambda: encoders.efficientnet(image_tower, node)), tensors),
        partial(text_features, cache(lambda: encoders.minilm(node)), tensors),
        int(metadata["size"]),
        IMAGENET,
    )


def places(name: str, node: str) -> list[Path]:
    return [folders.inside(folder, name, f"{node}: heads") for folder in (HEADS, folders.reward_folder())]


def image_features(tower: Callable[[], Callable], tensors: dict[str, Tensor], pixels: Tensor) -> Tensor:
    return image_head(tower()(pixels), tensors)


def text_features(tower: Callable[[], Callable], tensors: dict[str, Tensor], prompts: list[str]) -> Tensor:
    vectors = tower()(prompts)
    return F.linear(vectors, tensors["text.weight"].to(vectors), tensors["text.bias"].to(vectors))


def image_head(features: Tensor, tensors: dict[str, Tensor]) -> Tensor:
    """Linear, GELU, linear on features [b, 1280]."""
    hidden = F.gelu(F.linear(features, tensors["image.0.weight"].to(features), tensors["image.0.bias"].to(features)))
    return F.linear(hidden, tensors["image.2.weight"].to(hidden), tensors["image.2.bias"].to(hidden))
