"""Latents with captions and edges: the outline of the alpha mask, or the picture's own edges."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from kornia.filters import canny
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from ...benchmarks.quality import data
from ...benchmarks.quality.data import Subject
from ..base_model import vae
from ..base_model.dataset import Pictures
from ..base_model.networks import Tokens

THRESHOLDS = ((0.4, 0.8), (0.2, 0.5), (0.1, 0.3))  # the first is the stock Canny node's default
EMPTY_SHARE = 0.3  # of captions, so that the edges alone say enough
CHUNK = 64


@dataclass
class Edges:
    """Unit-variance latents [n, 4, h, w], their edges [n, 1, 8h, 8w] as uint8 0 or 1, and what each shows."""

    latents: Tensor
    edges: Tensor
    subjects: list[Subject]

    def batch(self, size: int, tokens: Tokens, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Draw (latents, edges [b, 3, 8h, 8w] in 0..1, tokens [b, 77])."""
        which = torch.randint(len(self.subjects), (size,), generator=generator)
        rng = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))
        captions = ["" if rng.random() < EMPTY_SHARE else data.training_caption(self.subjects[i], rng) for i in which]
        return self.latents[which].float(), self.edges[which].float().expand(-1, 3, -1, -1), tokens(captions)


def edges_of(pictures: np.ndarray, alphas: np.ndarray, rng: np.random.Generator) -> Tensor:
    """Canny of the alpha mask or of the picture, half of the time each: [n, h, w, 3], [n, h, w] -> [n, 1, h, w]."""
    found = []
    for picture, alpha in zip(pictures, alphas):
        shown = np.repeat(alpha[..., None], 3, axis=2) if rng.random() < 0.5 else picture
        low, high = THRESHOLDS[rng.integers(len(THRESHOLDS))]
        image = torch.from_numpy(shown).permute(2, 0, 1)[None].float() / 255
        found.append(canny(image, low, high)[1])
    return (torch.cat(found) > 0).to(torch.uint8)


def encoded(net: nn.Module, pictures: Pictures, subjects: list[Subject], seed: int, file: Path) -> Edges:
    """Place, draw and encode every subject, its edges beside it; a pure function of (seed, index), kept in `file`."""
    if file.exists():
        kept = load_file(file)
        return Edges(kept["latents"], kept["edges"], subjects)
    latents, edges = [], []
    for i in tqdm(range(0, len(subjects), CHUNK), desc="encode"):
        part = subjects[i : i + CHUNK]
        rngs = (np.random.default_rng([seed, 1, i + k]) for k in range(len(part)))
        placed = [data.place(pictures[s.name, s.style], rng) for s, rng in zip(part, rngs)]
        drawn = np.stack([data.on_ground(p, s.colour) for p, s in zip(placed, part)])
        alphas = np.stack([np.asarray(p.getchannel("A")) for p in placed])
        edges.append(edges_of(drawn, alphas, np.random.default_rng([seed, 2, i])))
        latents.append(vae.latents(net, drawn).half())
    made = Edges(torch.cat(latents), torch.cat(edges), subjects)
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({"latents": made.latents.contiguous(), "edges": made.edges.contiguous()}, file)
    return made
