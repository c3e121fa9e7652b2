"""The rows of the table: a default as it was, as it is, and what it is held against."""

from dataclasses import dataclass, replace

from ...training import methods
from ...training.method import Method
from ...training.options import (
    ConsistencyOptions,
    DiscriminatorOptions,
    DMDOptions,
    PairsOptions,
    RoleOptions,
    ScoreOptions,
    SwiftBrushOptions,
    TSCDOptions,
)

LCM_LORA = "fewstep-tiny-sd-lcm-lora.safetensors"
GUIDED = {"guidance_min": 2.0, "guidance_max": 2.0}  # the tiny base's best


@dataclass(frozen=True)
class Row:
    """One short run. start: the LoRA that it begins from; timesteps: lists at which its held-out error is taken."""

    name: str
    method: Method
    start: str = LCM_LORA
    rate: float = 1e-4
    timesteps: tuple[tuple[int, ...], ...] = ((999,), (999, 759, 499, 259))


def tscd(k: int, distance: float, adversarial: float, loss: str, **discriminator) -> Method:
    """One phase of TSCD with k segments; skip and guidance as suit the tiny base."""
    jump = ConsistencyOptions(boundary=False, end="random", target="ema", loss=loss, skip=100, **GUIDED)
    heads = DiscriminatorOptions(head_start=0, **discriminator)
    phase = {"segments": (k,), "phase_steps": (1,), "distance": (distance,), "adversarial": (adversarial,)}
    return methods.tscd(TSCDOptions(**phase, consistency=jump, discriminator=heads))


def swiftbrush(rate: float) -> Method:
    own = SwiftBrushOptions()
    score = replace(own.score, guidance=2.0, critic_guidance=2.0)
    student = replace(own.student, rate=rate, rank=64, alpha=128.0)
    return methods.swiftbrush(replace(own, score=score, student=student))


def dmd(t: int) -> Method:
    score = ScoreOptions(timesteps=(t,), guidance=2.0)
    return methods.dmd(DMDOptions(score=score, student_every=2, critic=RoleOptions(rate=5e-4)))


OLD = {"rate": 1e-5, "betas": (0.9, 0.999)}
ONE = ((999,),)
ROWS = (
    Row("TSCD k = 1, MSE 0.25, adversary 0.2, heads at 1e-5 (as it was)", tscd(1, 0.25, 0.2, "l2", **OLD)),
    Row("TSCD k = 1, MSE 0.25, no adversary", tscd(1, 0.25, 0.0, "l2")),
    Row("TSCD k = 1, Huber, no adversary", tscd(1, 1.0, 0.0, "huber")),
    Row("TSCD k = 1, Huber, adversary 0.1, heads at 5e-4 (as it is)", tscd(1, 1.0, 0.1, "huber")),
    Row("TSCD k = 4, MSE, adversary 0.05, heads at 1e-5 (as it was)", tscd(4, 1.0, 0.05, "l2", **OLD)),
    Row("TSCD k = 4, Huber, adversary 0.05, heads at 5e-4 (as it is)", tscd(4, 1.0, 0.05, "huber")),
    Row("SwiftBrush, student at 1e-4 (as it was)", swiftbrush(1e-4), rate=0.0, timesteps=ONE),
    Row("SwiftBrush, student at 1e-5 (as it is)", swiftbrush(1e-5), rate=0.0, timesteps=ONE),
    Row("DMD at t = 999 from the LCM-LoRA", dmd(999), timesteps=ONE),
    Row("Pairs at t = 999 from the base", methods.pairs(PairsOptions(timestep=999)), "", 1e-3, ONE),
    Row("Pairs at t = 399 from the base (the default)", methods.pairs(PairsOptions()), "", 1e-3, ((399,),)),
)
