"""Train the heads on the towers' features, and say what they are worth on concepts they never saw."""

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from ..quality.fetch import ROOT
from .pairs import SIZE, TOWER, Pairs

SHIPPED = ROOT / "assets" / "rewards" / "lit-emoji.safetensors"
HIDDEN, JOINT, BATCH, EPOCHS, RATE, DECAY, DROPOUT, SCALE = 512, 256, 1024, 30, 1e-3, 0.05, 0.2, 14.0


def start(seed: int) -> dict[str, torch.nn.Parameter]:
    """Heads as nn.Linear begins: image 1280-512-256, text 384-256, and the log of the scale."""
    torch.manual_seed(seed)
    layers = {"image.0": (1280, HIDDEN), "image.2": (HIDDEN, JOINT), "text": (384, JOINT)}
    found = {}
    for name, shape in layers.items():
        linear = torch.nn.Linear(*shape)
        found |= {f"{name}.weight": linear.weight, f"{name}.bias": linear.bias}
    return found | {"scale": torch.nn.Parameter(torch.tensor(SCALE).log())}


def train(pairs: Pairs, seed: int = 0) -> dict[str, Tensor]:
    """The heads in fp16 after a fixed number of epochs; nothing is chosen by the held-out pairs."""
    heads = start(seed)
    optimizer = torch.optim.AdamW(heads.values(), RATE, weight_decay=DECAY)
    steps = EPOCHS * (len(pairs.owner) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps)
    for _ in range(EPOCHS):
        order = torch.randperm(len(pairs.owner))
        for rows in order.split(BATCH)[: len(order) // BATCH]:
            optimizer.zero_grad()
            contrast(heads, pairs, rows).backward()
            optimizer.step()
            schedule.step()
    return {key: value.detach().half() for key, value in heads.items() if key != "scale"}


def contrast(heads: dict[str, Tensor], pairs: Pairs, rows: Tensor) -> Tensor:
    """CLIP's loss in both directions; pictures of one caption are each other's positives."""
    captions, which = pairs.owner[rows].unique(return_inverse=True)
    features = F.dropout(pairs.pictures[rows], DROPOUT)
    logits = heads["scale"].exp() * joint(heads, features, pairs.captions[captions], pack_head())
    own = F.one_hot(which, len(captions)).float()
    return (F.cross_entropy(logits, which) + F.cross_entropy(logits.T, own.T / own.T.sum(1, keepdim=True))) / 2


def pack_head():
    """The head as the reward applies it."""
    from fewstep.host.rewards.lit import image_head

    return image_head


def joint(heads: dict[str, Tensor], pictures: Tensor, captions: Tensor, image_head) -> Tensor:
    """Cosines [pictures, captions]."""
    text = F.linear(captions, heads["text.weight"].to(captions), heads["text.bias"].to(captions))
    return F.normalize(image_head(pictures, heads), dim=-1) @ F.normalize(text, dim=-1).T


@torch.no_grad()
def recall(heads: dict[str, Tensor], pairs: Pairs) -> dict[str, float]:
    """How often the right caption of all is first, among five, among ten; and the mean cosines, own and others'."""
    cosines = joint(heads, pairs.pictures, pairs.captions, pack_head())
    place = (cosines > cosines.gather(1, pairs.owner[:, None])).sum(1)
    found = {f"R@{k}": float((place < k).float().mean()) for k in (1, 5, 10)}
    own = cosines.gather(1, pairs.owner[:, None]).mean()
    others = (cosines.sum() - own * len(cosines)) / (cosines.numel() - len(cosines))
    return {**found, "own": float(own), "others": float(others)}


def save(heads: dict[str, Tensor], pairs: Pairs, target: Path = SHIPPED) -> None:
    from fewstep.weights import io

    recipe = {"pictures": len(pairs.owner), "captions": len(pairs.texts), "epochs": EPOCHS, "rate": RATE}
    metadata = {"image_tower": TOWER, "text_tower": "all-MiniLM-L6-v2", "size": str(SIZE)}
    io.save(heads, target, {**metadata, **{key: str(value) for key, value in recipe.items()}, "made_by": "FewStep"})
