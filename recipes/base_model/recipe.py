"""The whole recipe: pictures, VAE, latents, text encoder and U-Net in two phases, checkpoint."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from ...benchmarks.quality import data
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


@dataclass(frozen=True)
class Phase:
    """One stretch of U-Net training: its concepts, the augmented latents of each picture, its steps."""

    name: str
    kinds: dict[str, str]
    repeats: int
    steps: int


@dataclass(frozen=True)
class Job:
    """A run of the recipe: every part resumes from `folder`. With `minutes` the phases last by the clock."""

    sources: Sources
    recipe: Recipe
    folder: Path
    minutes: float | None = None
    device: str = "cpu"

    def budget(self, name: str, steps: int) -> Budget:
        """Return the phase's steps, or its share of the minutes."""
        return Budget(steps, self.minutes and self.minutes * MINUTES_SHARE[name])

    def phases(self) -> list[Phase]:
        """Return the phases of U-Net and text encoder that have steps."""
        recipe, sources = self.recipe, self.sources
        wide = Phase("wide", sources.wide, recipe.wide_repeats, recipe.wide_steps)
        return [p for p in (wide, Phase("narrow", sources.narrow, recipe.repeats, recipe.steps)) if p.steps]

    def latents(self, net: nn.Module, phase: Phase) -> Latents:
        """Encode a phase's pictures, none more often than the phase can draw them."""
        needed = phase.steps * self.recipe.batch // (2 * len(phase.kinds)) + 1
        repeats = min(phase.repeats, needed) if self.minutes is None else phase.repeats
        subjects = dataset.subjects_of(phase.kinds, repeats, self.recipe.seed)
        file = self.folder / f"latents-{phase.name}.npy"
        return dataset.encoded(net, self.sources.pictures, subjects, self.recipe.seed, file, self.device)

    def make(self, file: Path, embeddings: Tensor | None = None) -> dict[str, list[float]]:
        """Make the checkpoint. Returns the losses of the phases of U-Net and text encoder."""
        seen, unseen = self.sources.for_vae()
        limit = self.budget("vae", self.recipe.vae_steps)
        net = vae.train(list(seen.values()), self.recipe, limit, self.folder, self.device)
        made = {"vae_psnr_held_out": held_out_psnr(net, unseen, self.recipe)} if unseen else {}
        model, losses = train.start(self.recipe, embeddings), {}
        for phase in self.phases():
            latents, limit = self.latents(net, phase), self.budget(phase.name, phase.steps)
            state = self.folder / f"{phase.name}.pt"
            average, losses[phase.name] = train.train(model, latents, self.recipe, limit, state, self.device)
        made |= {f"{name}_steps": len(values) for name, values in losses.items()}
        made |= {f"{name}_loss": round(sum(v[-100:]) / len(v[-100:]), 4) for name, v in losses.items()}
        export.save(average, net, file, self.recipe, made)
        return losses


def held_out_psnr(net: nn.Module, pictures: Pictures, recipe: Recipe) -> float:
    """Return the VAE's PSNR in dB on concepts it was not trained on, half of them on coloured grounds."""
    subjects = [data.Subject(*pair[:1], "", pair[1], "blue" if i % 2 else None) for i, pair in enumerate(pictures)]
    return round(vae.psnr(net, data.real_pictures(pictures, subjects, recipe.seed)), 2)


def start_embeddings(folder: Path) -> Tensor | None:
    """Return the PCA of MiniLM's vectors of the vocabulary, when that package is there."""
    return tokens.embeddings(Tokens().vocabulary(), folder / "tokens.pt")
