"""What is measured, the most important first."""

from dataclasses import dataclass

from fewstep.training import methods
from fewstep.training.options import (
    ConsistencyOptions,
    DiscriminatorOptions,
    DMDOptions,
    PairsOptions,
    ReconstructionOptions,
    ScoreOptions,
    SwiftBrushOptions,
    TSCDOptions,
)

AT_ONCE = DiscriminatorOptions(head_start=0)  # so that every iteration has every turn
ONE_PHASE = {"segments": (2,), "phase_steps": (1000,), "distance": (1.0,)}
METHODS = {
    "LCM": lambda: methods.lcm(ConsistencyOptions()),
    "TSCD with adversary": lambda: methods.tscd(TSCDOptions(**ONE_PHASE, adversarial=(0.1,), discriminator=AT_ONCE)),
    "Imagine Flash": lambda: methods.imagine_flash(ReconstructionOptions()),
    "SwiftBrush": lambda: methods.swiftbrush(SwiftBrushOptions()),
    "DMD": lambda: methods.dmd(DMDOptions(student_every=1)),
    "DMD2, 4 steps, adversary": lambda: methods.dmd(
        DMDOptions(
            student_every=1,
            score=ScoreOptions(timesteps=(999, 749, 499, 249), adversarial=0.01, discriminator=AT_ONCE),
        )
    ),
    "Pairs": lambda: methods.pairs(PairsOptions()),
}


@dataclass(frozen=True)
class Case:
    """One row: a method on a network of a size, batch 1, a LoRA of rank 64."""

    size: str
    method: str
    precision: str = "bf16"
    checkpointing: bool = False


CASES = (
    *(Case("SD1.5", method) for method in METHODS),
    Case("SD1.5", "LCM", checkpointing=True),
    Case("SD1.5", "DMD", checkpointing=True),
    Case("SD1.5", "LCM", "fp16"),
    Case("SD1.5", "LCM", "fp32"),
    Case("SDXL", "LCM"),
    Case("SDXL", "LCM", checkpointing=True),
    Case("SDXL", "DMD", checkpointing=True),
    Case("SDXL", "TSCD with adversary", checkpointing=True),
    Case("SDXL", "DMD"),
    Case("SDXL", "SwiftBrush", checkpointing=True),
    Case("SDXL", "Imagine Flash", checkpointing=True),
    Case("SDXL", "DMD2, 4 steps, adversary", checkpointing=True),
)
