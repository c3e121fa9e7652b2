"""Ways to draw the same caption from several seeds with the tiny base and its shipped student."""

from dataclasses import dataclass

import numpy as np
import torch

from ..quality.sample import ROOT, Drawer, Row, counted, initial_noise

STUDENT = str(ROOT / "assets" / "loras" / "fewstep-tiny-sd-lcm-lora.safetensors")


@dataclass(frozen=True)
class Way:
    """timesteps: where the network is asked; base: how many of them, from the first, the bare base takes at `cfg`."""

    name: str
    timesteps: tuple[int, ...]
    base: int = 0
    cfg: float = 1.0
    sampler: str = "lcm"
    unit_start: bool = False
    noise: float = 0.0  # on the condition at the top
    fade: float = 0.0  # the share of the time at which none is left


def trailing(steps: int) -> tuple[int, ...]:
    return tuple(round(1000 - i * 1000 / steps) - 1 for i in range(steps))


ONE = (999,)
WAYS = (
    Way("the base, 12 steps, cfg 2.5", trailing(12), base=12, cfg=2.5, sampler="ddim"),
    Way("the student, 4 steps", (999, 759, 499, 259)),
    Way("the student, 2 steps", (999, 499)),
    Way("the student, 1 step", ONE),
    *(Way(f"first step by the base at cfg 2.5, to t = {t}", (999, t), 1, 2.5, "ddim") for t in (879, 759, 499)),
    Way("first two steps by the base at cfg 2.5, to t = 499", (999, 759, 499), 2, 2.5, "ddim"),
    *(Way(f"unit noise at t = {t}", (t,), unit_start=True) for t in (899, 799, 699, 599)),
    *(Way(f"condition noise {amount:g}", ONE, noise=amount) for amount in (0.05, 0.1, 0.2, 0.3, 0.5)),
    *(Way(f"condition noise {x:g}, fading to t = 499, 2 steps", (999, 499), noise=x, fade=0.5) for x in (0.2, 0.5)),
)


@torch.inference_mode()
def draw(drawer: Drawer, way: Way, captions: list[str], seed: int) -> tuple[np.ndarray, float]:
    """(uint8 pictures [n, h, w, 3], network passes a picture); picture i starts from noise (seed, i)."""
    from fewstep.host import condition_noise, sampling, stages
    from fewstep.samplers import schedule
    from fewstep.samplers.registry import SAMPLERS
    from fewstep.samplers.unit_start import with_unit_start

    base, base_rows = counted(drawer.model)
    student, student_rows = counted(drawer.patched(Row("lcm", 1, lora=STUDENT)))
    student = condition_noise.apply(student, way.noise, way.fade, seed)
    known, noise = SAMPLERS[way.sampler], initial_noise(len(captions), seed, 0)
    function = with_unit_start(known.function) if way.unit_start else known.function
    sampler = sampling.as_sampler(function, known.keywords(0.0, seed))
    sigmas = schedule.sigmas_of(student.get_model_object("model_sampling"), list(way.timesteps))
    parts = [stages.Stage(base, sigmas[: way.base + 1], [way.cfg]), stages.Stage(student, sigmas[way.base :], [1.0])]
    parts = [part for part in parts if len(part.sigmas) > 1]
    latents = stages.run(parts, seed, drawer.text(captions), drawer.text([""]), sampler, torch.zeros_like(noise), noise)
    return drawer.decode(latents), (base_rows.rows + student_rows.rows) / len(captions)
