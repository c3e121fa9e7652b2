"""Every method as its node makes it, by name."""

from collections.abc import Callable

from fewstep.training import methods
from fewstep.training.options import (
    ConsistencyOptions,
    DMDOptions,
    PairsOptions,
    ReconstructionOptions,
    SwiftBrushOptions,
    TSCDOptions,
)
from fewstep.training.options_continuous import ContinuousOptions

METHODS: dict[str, Callable] = {
    "LCM": lambda: methods.lcm(ConsistencyOptions()),
    "LCF": lambda: methods.lcf(ConsistencyOptions()),
    "sCM": lambda: methods.scm(ContinuousOptions()),
    "TSCD": lambda: methods.tscd(TSCDOptions()),
    "ImagineFlash": lambda: methods.imagine_flash(ReconstructionOptions()),
    "SwiftBrush": lambda: methods.swiftbrush(SwiftBrushOptions()),
    "DMD": lambda: methods.dmd(DMDOptions()),
    "Pairs": lambda: methods.pairs(PairsOptions()),
}
