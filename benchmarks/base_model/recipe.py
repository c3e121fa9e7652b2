"""The whole recipe: pictures, VAE, latents, text encoder and U-Net in two phases, checkpoint."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ..quality import data
from . import dataset, export, tokens, train, vae
from .config import MINUTES_SHARE, Budget, Recipe
from .dataset import Latents, Pictures
from .networks import Tokens

HELD_FROM_VAE = 25  # every 25th concept is kept from the VAE, to measure it on


@dataclass(frozen=True)
class Sources:
    """The pictures and classes of the wide and the narrow set."""

    pictures: Pictures
    wide: dict[str, str]
    narrow: dict[str, str]

    def for_vae(self) -> tuple[Pictures, Pictures]:
        """Split the pictures by concept: (trained on, held out)."""
        held = set(list(self.wide)[::HELD_FROM_VAE]) if len(self.wide) > HELD_FROM_VAE else set()
        train = {pair: picture for pair, picture in self.pictures.items() if pair[0] not in held}
        return train, {pair: picture for pair, picture in self.pictures.items() if pair[0] in held}


def real_sources(cache: Path, font: Path | None) -> Sources:
    """Fetch the pictures of all 1,015 concepts."""
    wide = data.wide_concepts(cache)
    return Sources(data.load_pictures(cache, font, wide), wide, data.concepts())


def budgets(recipe: Recipe, minutes: float | None) -> dict[str, Budget]:
    """Return the budget of each phase: the recipe's steps, or shares of the minutes."""
    steps = {"vae": recipe.vae_steps, "wide": recipe.wide_steps, "narrow": recipe.steps}
    return {name: Budget(n, minutes and minutes * MINUTES_SHARE[name]) for name, n in steps.items()}


def make(
    sources: Sources,
    recipe: Recipe,
    folder: Path,
    file: Path,
    *,
    minutes: float | None = None,
    device: str = "cpu",
    embeddings: torch.Tensor | None = None,
) -> dict[str, list[float]]:
    """Make a checkpoint; every phase resumes from `folder`. Returns the losses of the two U-Net phases."""
    limits = budgets(recipe, minutes)
    seen, unseen = sources.for_vae()
    net = vae.train(list(seen.values()), recipe, limits["vae"], folder, device)
    made = {"vae_psnr_held_out": held_out_psnr(net, unseen, recipe)} if unseen else {}
    model, losses = train.start(recipe, embeddings), {}
    for name, kinds, repeats in (
        ("wide", sources.wide, recipe.wide_repeats),
        ("narrow", sources.narrow, recipe.repeats),
    ):
        if recipe.wide_steps or name == "narrow":
            latents = encode(net, sources, kinds, repeats, recipe, folder / f"latents-{name}.npy", device)
            averaged, losses[name] = train.train(model, latents, recipe, limits[name], folder / f"{name}.pt", device)
    made |= {f"{name}_steps": len(values) for name, values in losses.items()}
    made |= {f"{name}_loss": round(sum(v[-100:]) / len(v[-100:]), 4) for name, v in losses.items()}
    export.save(averaged, net, file, recipe, made)
    return losses


def encode(
    net: nn.Module, sources: Sources, kinds: dict[str, str], repeats: int, recipe: Recipe, file: Path, device: str
) -> Latents:
    """Encode one phase's pictures."""
    subjects = dataset.subjects_of(kinds, repeats, recipe.seed)
    return dataset.encoded(net, sources.pictures, subjects, recipe.seed, file, device)


def held_out_psnr(net: nn.Module, pictures: Pictures, recipe: Recipe) -> float:
    """Return the VAE's PSNR in dB on concepts it was not trained on, half of them on coloured grounds."""
    subjects = [data.Subject(*pair[:1], "", pair[1], "blue" if i % 2 else None) for i, pair in enumerate(pictures)]
    return round(vae.psnr(net, data.real_pictures(pictures, subjects, recipe.seed)), 2)


def start_embeddings(folder: Path) -> torch.Tensor | None:
    """Return the PCA of MiniLM's vectors of the vocabulary, when that package is there."""
    return tokens.embeddings(Tokens().vocabulary(), folder / "tokens.pt")
