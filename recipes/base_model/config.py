"""The numbers of the recipe, and the budget a run is given."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Recipe:
    """Settings of the three phases, kept in proportion by `scaled`.

    The U-Net's are those the shipped weights were made with; of their VAE only loss, crop and 70 minutes are on record.
    """

    seed: int = 0
    # VAE
    vae_steps: int = 6000
    vae_batch: int = 32  # crops
    vae_rate: float = 1e-3
    crop: int = 32  # pixels, a multiple of 8
    vae_frames: int = 4  # placed pictures drawn from each picture, to cut crops from
    # U-Net and text encoder
    wide_steps: int = 4300  # on 1,015 concepts
    steps: int = 6077  # then on the 200
    batch: int = 48
    rate: float = 1e-3
    token_rate: float = 3e-4  # of the token embeddings
    wide_repeats: int = 4  # augmented latents of each picture
    repeats: int = 24
    snr_cap: float = 5.0  # min-SNR-gamma
    ema: float = 0.9995
    # both
    betas: tuple[float, float] = (0.9, 0.99)
    clip: float = 1.0  # gradient norm
    warmup: float = 0.02  # share of a phase
    save_every: int = 250  # steps

    def __post_init__(self) -> None:
        for name in ("vae_steps", "steps", "batch", "vae_batch", "repeats", "wide_repeats", "vae_frames"):
            if getattr(self, name) < 1:
                raise ValueError(f"Recipe: {name} must be at least 1, got {getattr(self, name)}.")
        if self.crop % 8:
            raise ValueError(f"Recipe: crop must be a multiple of 8 pixels, got {self.crop}.")

    def scaled(self, steps: int) -> "Recipe":
        """Return the recipe with `steps` U-Net steps in all, the other phases in proportion."""
        share = steps / (self.wide_steps + self.steps)
        wide = round(self.wide_steps * share)
        return replace(
            self, vae_steps=max(1, round(self.vae_steps * share)), wide_steps=wide, steps=max(1, steps - wide)
        )


@dataclass(frozen=True)
class Budget:
    """How long a phase lasts: a number of steps, or minutes of wall time when `minutes` is given."""

    steps: int
    minutes: float | None = None

    def done(self, step: int, seconds: float) -> float:
        """Return the share of the phase that is over, 0..1."""
        if self.minutes is not None:
            return min(seconds / (60 * self.minutes), 1.0)
        return min(step / self.steps, 1.0)


MINUTES_SHARE = {"vae": 0.33, "wide": 0.27, "narrow": 0.40}  # of the time left after the data
