"""Pictures with captions for the heads, and their features: EfficientNet-Lite1 (pictures), MiniLM (captions).

The heads learn on the pictures themselves; held-out ones are also taken through the tiny base's VAE, as the reward will
see a student's.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from ..quality import data, fetch
from ..quality.data import COLOURS, STYLES, WHITE_SHARE, Subject
from ..quality.sample import Drawer

TOWER, SIZE = "efficientnet-lite1", 128
HELD_OUT, SEED = 150, 0  # concepts outside the base's 200 that no head is trained on
OWN_COPIES, OTHER_COPIES, CHUNK = 16, 4, 100
DECODED = 100  # held-out pictures that are passed through the VAE too


@dataclass(frozen=True)
class Pairs:
    """pictures [n, 1280], captions [n, 384], owner [n]: which distinct caption each row has; texts: those captions."""

    pictures: torch.Tensor
    captions: torch.Tensor
    owner: torch.Tensor
    texts: list[str]


def split(cache: Path) -> tuple[list[str], list[str]]:
    """(names to train on, held-out names): 150 of the wide concepts that are not among the base's own 200."""
    own, wide = data.concepts(), data.wide_concepts(cache)
    others = [name for name in wide if name not in own]
    chosen = set(np.random.default_rng(SEED).permutation(others)[:HELD_OUT].tolist())
    return [name for name in wide if name not in chosen], sorted(chosen)


def subjects(names: list[str], own: set[str]) -> list[Subject]:
    """Every name in both styles, the base's own concepts more often; white 45 % of the time, else a colour."""
    rng, grounds = np.random.default_rng(SEED + 1), list(COLOURS)
    found = []
    for name in names:
        for style in STYLES:
            for _ in range(OWN_COPIES if name in own else OTHER_COPIES):
                colour = None if rng.random() < WHITE_SHARE else grounds[int(rng.integers(len(grounds)))]
                found.append(Subject(name, "", style, colour))
    return found


def retrieval(names: list[str]) -> list[Subject]:
    """Each name in both styles, on white: one picture for one caption."""
    return [Subject(name, "", style) for name in names for style in STYLES]


def features(kind: str, wanted: list[Subject], cache: Path, drawer: Drawer | None) -> torch.Tensor:
    """[n, 1280] features of the subjects' pictures, through the VAE where a drawer is given; kept in the cache."""
    file = cache / f"lit-{kind}.npy"
    if not file.exists():
        from fewstep.host.rewards import encoders
        from fewstep.training.rewards import IMAGENET, prepare

        network = encoders.efficientnet(TOWER, "benchmarks.rewards")
        pictures, parts = data.load_pictures(cache, names=sorted({s.name for s in wanted})), []
        for first in tqdm(range(0, len(wanted), CHUNK), desc=kind):
            drawn = data.real_pictures(pictures, wanted[first : first + CHUNK], SEED, first)
            drawn = drawer.reconstruct(drawn) if drawer else drawn
            pixels = torch.from_numpy(drawn).permute(0, 3, 1, 2).float() / 255
            with torch.no_grad():
                parts.append(network(prepare(pixels, SIZE, *IMAGENET)).numpy())
        np.save(file, np.concatenate(parts).astype(np.float16))
    return torch.from_numpy(np.load(file)).float()


def captions(kind: str, texts: list[str], cache: Path) -> torch.Tensor:
    """[n, 384] unit vectors of sentences; kept in the cache."""
    file = cache / f"lit-{kind}-captions.npy"
    if not file.exists():
        from fewstep.host.rewards import encoders

        encode = encoders.minilm("benchmarks.rewards")
        with torch.no_grad():
            parts = [encode(texts[i : i + 64]) for i in tqdm(range(0, len(texts), 64), desc=f"{kind} captions")]
        np.save(file, torch.cat(parts).numpy().astype(np.float16))
    return torch.from_numpy(np.load(file)).float()


def build(cache: Path = fetch.CACHE) -> dict[str, Pairs]:
    """Training pairs, held-out pairs of unseen concepts, and some of those through the VAE."""
    names, held_out = split(cache)
    asked = retrieval(held_out)
    return {
        "train": pairs("train", subjects(names, set(data.concepts())), cache),
        "held-out": pairs("held-out", asked, cache),
        "decoded": pairs("decoded", asked[:DECODED], cache, Drawer()),
    }


def pairs(kind: str, wanted: list[Subject], cache: Path, drawer: Drawer | None = None) -> Pairs:
    texts = sorted({subject.caption for subject in wanted})
    index = {text: i for i, text in enumerate(texts)}
    owner = torch.tensor([index[subject.caption] for subject in wanted])
    return Pairs(features(kind, wanted, cache, drawer), captions(kind, texts, cache), owner, texts)
