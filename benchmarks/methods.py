"""Every method as its node makes it, by name."""

from collections.abc import Callable

from fewstep.training import methods
from fewstep.training.method import Method
from fewstep.training.options import (
    ConsistencyOptions,
    DMDOptions,
    PairsOptions,
    ReconstructionOptions,
    SwiftBrushOptions,
    TSCDOptions,
)
from fewstep.training.options_continuous import ContinuousOptions
from fewstep.training.options_trajectory import TrajectoryOptions

DECAY = 0.95  # of the moving average, for methods whose target is one


def average(method: Method) -> dict[str, float]:
    """The setting of a run that trains the method: its moving average, where it needs one."""
    return {"ema_decay": DECAY} if method.averages else {}


METHODS: dict[str, Callable] = {
    "LCM": lambda: methods.lcm(ConsistencyOptions()),
    "LCF": lambda: methods.lcf(ConsistencyOptions()),
    "sCM": lambda: methods.scm(ContinuousOptions()),
    "TSCD": lambda: methods.tscd(TSCDOptions()),
    "ImagineFlash": lambda: methods.imagine_flash(ReconstructionOptions()),
    "SwiftBrush": lambda: methods.swiftbrush(SwiftBrushOptions()),
    "DMD": lambda: methods.dmd(DMDOptions()),
    "TDM": lambda: methods.tdm(TrajectoryOptions()),
    "Pairs": lambda: methods.pairs(PairsOptions()),
}
