"""Draw pictures with the tiny base through the host's own samplers, or through ours, with a LoRA or without."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from .fetch import ROOT

CHECKPOINT = ROOT / "assets" / "checkpoints" / "fewstep-tiny-sd.safetensors"
LATENT = 12  # latent side of a 96 x 96 picture
DECODE = 8  # pictures the VAE takes at once


@dataclass(frozen=True)
class Row:
    """One line of the table. With a `scheduler` the sampler is the host's, else ours on a `schedule` of ours."""

    sampler: str
    steps: int
    cfg: float = 1.0
    scheduler: str = ""
    schedule: str = "lcm"
    lora: str = ""
    strength: float = 1.0
    options: dict = field(default_factory=dict)

    @property
    def name(self) -> str:
        """A readable name, e.g. "dpmpp_2m karras, 25 steps, cfg 2.5" or "LoRA NAME, lcm, 4 steps"."""
        schedule = self.scheduler or ("" if self.schedule in ("lcm", "file") else self.schedule)
        how = f"{self.sampler} {schedule}".strip() + "".join(f" {k}={v}" for k, v in self.options.items())
        who = f"LoRA {Path(self.lora).stem}, " if self.lora else ""
        return f"{who}{how}, {self.steps} step{'s' * (self.steps > 1)}, cfg {self.cfg:g}"

    def key(self) -> dict:
        """Everything a picture depends on beside seed and index; files by their content."""
        files = [] if self.scheduler else [f"samplers/{name}.py" for name in (self.sampler, "noise", "schedule")]
        code = [content(ROOT / file) for file in files]
        return asdict(self) | {"lora": content(self.lora) if self.lora else "", "code": code}


class Drawn(NamedTuple):
    """Pictures uint8 [n, h, w, 3], network passes for each, seconds for each (sampling and decoding)."""

    pictures: np.ndarray
    passes: float
    seconds: float


def content(path: str | Path) -> str:
    """Return a short hash of a file's bytes."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]


class Drawer:
    """The tiny base in a host inside this process. Pictures are a function of (row, caption, seed, index)."""

    def __init__(self, checkpoint: Path = CHECKPOINT, device: str = "cpu"):
        from fewstep.host import headless

        headless.start(device)
        self.model, self.clip, self.vae = headless.load_checkpoint(checkpoint)
        self.vae.first_stage_model.to(memory_format=torch.channels_last)
        self._texts: dict[str, torch.Tensor] = {}
        self._patched: tuple[tuple, object] = ((), self.model)

    def has(self, row: Row) -> bool:
        """Say whether this host knows a stock row's sampler and scheduler."""
        from comfy.samplers import KSampler

        return row.sampler in KSampler.SAMPLERS and row.scheduler in KSampler.SCHEDULERS

    def text(self, captions: list[str]) -> list:
        """Encode captions as one conditioning whose batch is the list: [[tensor [b, 77, 64], {}]]."""
        for words in set(captions) - self._texts.keys():
            self._texts[words] = self.clip.encode_from_tokens(self.clip.tokenize(words), return_pooled=True)[0]
        return [[torch.cat([self._texts[words] for words in captions]), {}]]

    def patched(self, row: Row) -> object:
        """Return the model with the row's LoRA, loaded by the host's own function; the last one is kept."""
        import comfy.sd
        import comfy.utils

        if not row.lora:
            return self.model
        key = (row.lora, row.strength, content(row.lora))
        if self._patched[0] != key:
            weights = comfy.utils.load_torch_file(row.lora, safe_load=True)
            self._patched = (key, comfy.sd.load_lora_for_models(self.model, None, weights, row.strength, 0)[0])
        return self._patched[1]

    @torch.inference_mode()
    def draw(self, row: Row, captions: list[str], seed: int, first: int = 0) -> Drawn:
        """Draw one picture a caption as one batch; picture i starts from noise (seed, first + i)."""
        model, counter = counted(self.patched(row))
        positive, negative = self.text(captions), self.text([""])
        noise = initial_noise(len(captions), seed, first)
        start = time.perf_counter()
        latent = sample(model, row, noise, positive, negative, seed, first)
        pictures = self.decode(latent)
        seconds = time.perf_counter() - start
        return Drawn(pictures, counter.rows / len(captions), seconds / len(captions))

    def decode(self, latent: torch.Tensor) -> np.ndarray:
        """Decode latents with the VAE to uint8 [n, h, w, 3], a few at a time (twice as fast on a CPU)."""
        parts = [self.vae.decode(part)[..., :3].clamp(0, 1) for part in latent.split(DECODE)]
        return (torch.cat(parts) * 255).round().to(torch.uint8).cpu().numpy()

    @torch.inference_mode()
    def reconstruct(self, pictures: np.ndarray) -> np.ndarray:
        """Pass uint8 pictures [n, h, w, 3] through the VAE: encode, decode."""
        x = torch.from_numpy(pictures).float() / 255
        return self.decode(torch.cat([self.vae.encode(part) for part in x.split(DECODE)]))


def initial_noise(n: int, seed: int, first: int) -> torch.Tensor:
    """Unit noise [n, 4, 12, 12], one generator a picture: the same picture in every batch size and row."""
    generators = (torch.Generator().manual_seed(1_000_003 * seed + first + i) for i in range(n))
    return torch.stack([torch.randn(4, LATENT, LATENT, generator=g) for g in generators])


def sample(
    model: object, row: Row, noise: torch.Tensor, positive: list, negative: list, seed: int, first: int
) -> torch.Tensor:
    """Run the row's sampler in the host and return latents."""
    import comfy.sample
    import comfy.samplers

    empty = torch.zeros_like(noise)
    if row.scheduler:
        settings = (row.steps, row.cfg, row.sampler, row.scheduler)
        torch.manual_seed(seed + first)  # samplers that add noise draw it from the global generator
        seeds = {"seed": seed + first, "disable_pbar": True}
        return comfy.sample.sample(model, noise, *settings, positive, negative, empty, **seeds)
    options = {"seed": seed, "pictures": list(range(first, first + len(noise))), **row.options}
    taken = import_module("fewstep.samplers.registry").SAMPLERS[row.sampler].options
    own = {name: value for name, value in options.items() if name in taken}
    sampler = comfy.samplers.KSAMPLER(ours(row.sampler), extra_options=own)
    args = (model, noise, row.cfg, sampler, sigmas_of(model, row), positive, negative, empty)
    return comfy.sample.sample_custom(*args, seed=seed, disable_pbar=True)


def ours(name: str) -> Callable:
    """Return the pack's sampler function `sample_NAME`, in k-diffusion's signature, as the loaders hand it out: a
    student that is asked below the top is given unit noise there."""
    function = import_module("fewstep.samplers.registry").SAMPLERS[name].function
    return import_module("fewstep.samplers.unit_start").with_unit_start(function)


def sigmas_of(model: object, row: Row) -> torch.Tensor:
    """Return the sigmas [steps + 1] of one of the pack's schedules."""
    schedule = import_module("fewstep.samplers.schedule")
    timesteps = own_timesteps(row) if row.schedule == "file" else schedule.SCHEDULES[row.schedule](row.steps)
    return schedule.sigmas_of(model.get_model_object("model_sampling"), timesteps)


def own_timesteps(row: Row) -> list[int]:
    """Return the timesteps that FewStepLoadLora takes for the row's LoRA: the file's own, else its schedule's."""
    names = "weights.io", "weights.families", "host.loading.sampler"
    io, families, sampler = (import_module(f"fewstep.{name}") for name in names)
    return sampler.timesteps_of(families.from_metadata(io.load(row.lora)[1]), row.steps)


class _Counter:
    rows = 0


def counted(model: object) -> tuple[object, _Counter]:
    """Return a clone of the model that counts the rows its network is given."""
    model, counter = model.clone(), _Counter()

    def run(apply: Callable, args: dict) -> torch.Tensor:
        counter.rows += args["input"].shape[0]
        return apply(args["input"], args["timestep"], **args["c"])

    model.set_model_unet_function_wrapper(run)
    return model, counter
