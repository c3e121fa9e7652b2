"""Latents with captions: each picture many times, augmented, on white or a colour."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm

from ...benchmarks.quality import data
from ...benchmarks.quality.data import Subject
from . import vae
from .networks import Tokens

Pictures = dict[tuple[str, str], Image.Image]


@dataclass
class Latents:
    """Unit-variance latents [n, 4, h, w] and what each of them shows."""

    latents: Tensor
    subjects: list[Subject]

    def batch(self, size: int, tokens: Tokens, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw (latents [b, 4, h, w], tokens [b, 77]); the caption is drawn anew each time."""
        which = torch.randint(len(self.subjects), (size,), generator=generator)
        rng = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))
        captions = [data.training_caption(self.subjects[i], rng) for i in which]
        return self.latents[which].float(), tokens(captions)


def subjects_of(kinds: dict[str, str], repeats: int, seed: int) -> list[Subject]:
    """List every trained combination `repeats` times, white 45 % of the time, else on one of nine colours."""
    rng, colours = np.random.default_rng([seed, 20]), list(data.COLOURS)
    return [
        Subject(name, kind, style, None if rng.random() < data.WHITE_SHARE else colours[rng.integers(len(colours))])
        for name, kind in kinds.items()
        for style in data.STYLES
        if (name, style) not in data.held_out()
        for _ in range(repeats)
    ]


def encoded(
    net: nn.Module,
    pictures: Pictures,
    subjects: list[Subject],
    seed: int,
    file: Path,
    device: str = "cpu",
    chunk: int = 64,
) -> Latents:
    """Draw and encode every subject; kept in `file` as fp16."""
    if not file.exists():
        parts = []
        net = net.to(device)
        for i in tqdm(range(0, len(subjects), chunk), desc=f"encode {file.stem}"):
            part = data.real_pictures(pictures, subjects[i : i + chunk], seed, i)
            parts.append(vae.latents(net, part, device).half())
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, torch.cat(parts).numpy())
        net.cpu()
    return Latents(torch.from_numpy(np.load(file)), subjects)
