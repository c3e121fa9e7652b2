"""Rewards: scores of pictures that a student can follow uphill. `reward(pictures, prompts) -> [b]`, higher is better.

pictures: [b, 3, h, w] in 0..1, with gradient; prompts: their texts. torch only; the networks are passed in. Each has
a scale of its own: `span` is what it gives, `alpha` where a hinge on it lets an image alone if nobody says otherwise.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

CLIP = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # mean and spread of its pixels
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
REMEMBERED = 4096  # prompts whose text features are kept


def prepare(pictures: Tensor, size: int, mean=CLIP[0], std=CLIP[1]) -> Tensor:
    """CLIP's own preprocessing, with gradient: shorter side to `size` (bicubic, antialiased), centre crop, normalise.

    Of a picture that is not square the ends of the long side are not seen, as in every published CLIP score.
    """
    from kornia.enhance import normalize
    from kornia.geometry import resize

    height, width = (round(side * size / min(pictures.shape[-2:])) for side in pictures.shape[-2:])
    fitted = resize(pictures, (height, width), interpolation="bicubic", antialias=True)
    top, left = (height - size) // 2, (width - size) // 2
    square = fitted[..., top : top + size, left : left + size]
    return normalize(square, torch.tensor(mean).to(pictures), torch.tensor(std).to(pictures))


@dataclass
class ClipSimilarity:
    """Cosine of image and text features. image, text: networks to [b, d]; text takes a list of prompts.

    size, pixels: what the image network takes: the side, and (mean, spread) of its pixels.
    """

    name: str
    image: Callable[[Tensor], Tensor]
    text: Callable[[list[str]], Tensor]
    size: int = 224
    pixels: tuple = CLIP
    span: tuple[float, float] = (-1.0, 1.0)
    alpha: float = 0.35  # SwiftBrush v2's tau
    known: OrderedDict = field(default_factory=OrderedDict)

    def __call__(self, pictures: Tensor, prompts: list[str]) -> Tensor:
        images = F.normalize(self.image(prepare(pictures, self.size, *self.pixels)).float(), dim=-1)
        return (images * self.features(prompts).to(images)).sum(-1)

    def features(self, prompts: list[str]) -> Tensor:
        """[b, d] unit text features; each prompt is encoded once while it is remembered."""
        missing = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self.known]
        if missing:
            with torch.no_grad():
                found = F.normalize(self.text(missing).float(), dim=-1).cpu()
            self.known.update(zip(missing, found))
        chosen = torch.stack([self.known[prompt] for prompt in prompts])
        while len(self.known) > REMEMBERED:
            self.known.popitem(last=False)
        return chosen


@dataclass
class AestheticScore:
    """A linear head, or several in a row, on unit image features: LAION's aesthetic predictors, about 1..10.

    layers: [(weight [out, in], bias [out])]; LAION's deeper predictor has no activations between its layers.
    """

    name: str
    image: Callable[[Tensor], Tensor]
    layers: list[tuple[Tensor, Tensor]]
    size: int = 224
    span: tuple[float, float] = (1.0, 10.0)
    alpha: float = 6.5  # where LAION's best subset begins

    def __call__(self, pictures: Tensor, prompts: list[str]) -> Tensor:
        x = F.normalize(self.image(prepare(pictures, self.size)).float(), dim=-1)
        for weight, bias in self.layers:
            x = F.linear(x, weight.to(x), bias.to(x))
        return x[:, 0]


@dataclass
class PairedScore:
    """A network that sees picture and prompt together: ImageReward, about -2..2. network(pixels, prompts) -> [b]."""

    name: str
    network: Callable[[Tensor, list[str]], Tensor]
    size: int = 224
    span: tuple[float, float] = (-2.0, 2.0)
    alpha: float = 2.0  # that of ReFL (Xu et al. 2023)

    def __call__(self, pictures: Tensor, prompts: list[str]) -> Tensor:
        return self.network(prepare(pictures, self.size), prompts).float()


@dataclass
class RewardSum:
    """sum_i w_i r_i(pictures, prompts): one score, so that one reward can make up for another. parts: [(w_i, r_i)]."""

    parts: list[tuple[float, Callable[[Tensor, list[str]], Tensor]]]

    @property
    def name(self) -> str:
        return " + ".join(f"{weight:g} x ({reward.name})" for weight, reward in self.parts)

    @property
    def alpha(self) -> float:
        return sum(weight * reward.alpha for weight, reward in self.parts)

    @property
    def span(self) -> tuple[float, float]:
        ends = [sorted((weight * reward.span[0], weight * reward.span[1])) for weight, reward in self.parts]
        return sum(low for low, _ in ends), sum(high for _, high in ends)

    def __call__(self, pictures: Tensor, prompts: list[str]) -> Tensor:
        return sum(weight * reward(pictures, prompts) for weight, reward in self.parts if weight)


@dataclass
class Clearness:
    """How clearly one thing stands out: 1 where the saliency map is a full, sharp region, 0 where nothing is seen.

    The soft IoU of the map with its own region above half of its maximum. saliency(pictures) -> [b, h, w] in 0..1.
    """

    name: str
    saliency: Callable[[Tensor], Tensor]
    span: tuple[float, float] = (0.0, 1.0)
    alpha: float = 1.0  # it cannot be too clear

    def __call__(self, pictures: Tensor, prompts: list[str]) -> Tensor:
        found = self.saliency(pictures)
        region = found.detach() > 0.5 * found.detach().amax((1, 2), keepdim=True)
        return soft_iou(found, region)


def soft_iou(found: Tensor, region: Tensor) -> Tensor:
    """sum p m / (sum p + sum m - sum p m) [b] of a map p in 0..1 and a region m, both [b, h, w]."""
    region = region.to(found)
    both = (found * region).sum((1, 2))
    return both / (found.sum((1, 2)) + region.sum((1, 2)) - both).clamp(min=1e-6)


def head_layers(tensors: dict[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
    """The linear layers of a head's file in the order of their names. Raises ValueError when they do not chain."""
    names = sorted((key.removesuffix("weight") for key in tensors if key.endswith("weight")), key=natural)
    layers = [(tensors[f"{name}weight"], tensors[f"{name}bias"]) for name in names if f"{name}bias" in tensors]
    fits = all(a[0].shape[0] == b[0].shape[1] for a, b in zip(layers, layers[1:]))
    if not layers or not fits or layers[-1][0].shape[0] != 1 or len(layers) != len(names):
        raise ValueError(
            f"it holds no chain of linear layers that ends in one number ({', '.join(sorted(tensors)[:4])})."
        )
    return layers


def natural(name: str) -> list:
    """layers.2. before layers.10."""
    return [int(part) if part.isdigit() else part for part in name.replace(".", " ").split()]
