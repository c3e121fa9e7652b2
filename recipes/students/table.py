"""The stages: what each student starts from, learns by, and how long. A stage is a run folder of its own name."""

from dataclasses import dataclass, field

from ...training import methods
from ...training.method import Method
from ...training.options import (
    ConsistencyOptions,
    DMDOptions,
    PairsOptions,
    ReconstructionOptions,
    RoleOptions,
    ScoreOptions,
    SwiftBrushOptions,
    TSCDOptions,
)

GUIDANCE = 2.0  # the tiny base's best
BELOW = 500  # where the one-step student is asked: 400-600 are alike, 200 and 999 are worse (README.md)
COSINE = {"decay": "cosine", "ema_decay": 0.98}


@dataclass(frozen=True)
class Stage:
    """start: the stage whose LoRA it begins from; title: of its file in assets/loras, "" where it is only a step on the
    way; settings: of TrainConfig; timesteps: lists for step counts that it was not trained for but is good at."""

    method: Method
    settings: dict = field(default_factory=dict)
    start: str = ""
    title: str = ""
    timesteps: dict[int, tuple[int, ...]] = field(default_factory=dict)


def dmd(
    timesteps: tuple[int, ...], regression_weight: float = 0.0, rate: float = 3e-4, guidance: float = GUIDANCE
) -> Method:
    """The critic learns fast and has a lead: with fewer turns it lags behind so small a student."""
    scores = ScoreOptions(timesteps=timesteps, guidance=guidance)
    fast = {"student": RoleOptions(rate=rate), "critic": RoleOptions(rate=1e-3), "critic_head_start": 30}
    return methods.dmd(DMDOptions(score=scores, student_every=1, regression_weight=regression_weight, **fast))


def consistency(**options) -> ConsistencyOptions:
    guidance = {"guidance_min": GUIDANCE, "guidance_max": GUIDANCE}
    jump = {"boundary": False, "end": "random", "target": "ema", "skip": 100, "solver_steps": 2}
    return ConsistencyOptions(**{**jump, **guidance, **options})


STAGES = {
    "pairs": Stage(
        methods.pairs(PairsOptions(timestep=BELOW, guidance=GUIDANCE)),
        {"steps": 1400, "learning_rate": 2e-3, **COSINE},
    ),
    "one-step-dmd": Stage(
        dmd((BELOW,), regression_weight=0.5),
        {"steps": 60, "ema_decay": 0.95},
        start="pairs",
    ),
    "one-step-dmd-further": Stage(
        dmd((BELOW,), regression_weight=0.5, rate=2e-4, guidance=3.0),
        {"steps": 80, "ema_decay": 0.95},
        start="one-step-dmd",
        title="fewstep-tiny-sd-dmd",
        timesteps={2: (BELOW, 100)},
    ),
    "tscd": Stage(
        methods.tscd(TSCDOptions(phase_steps=(120, 120, 120, 240), consistency=consistency())),
        {"steps": 600, "learning_rate": 1e-3, **COSINE},
        title="fewstep-tiny-sd-tscd",
    ),
    "unified": Stage(
        dmd((999,)), {"steps": 80, "ema_decay": 0.95}, start="tscd", title="fewstep-tiny-sd-tscd-dmd-unified"
    ),
    "imagine-flash": Stage(
        methods.imagine_flash(ReconstructionOptions(guidance=GUIDANCE)),
        {"steps": 400, "learning_rate": 1e-3, **COSINE},
        title="fewstep-tiny-sd-imagine-flash",
    ),
    "dmd2-4-steps": Stage(
        dmd((999, 749, 499, 249)),
        {"steps": 110, "ema_decay": 0.95},
        start="tscd",
        title="fewstep-tiny-sd-dmd2-4-steps",
    ),
    "swiftbrush": Stage(
        methods.swiftbrush(
            SwiftBrushOptions(
                score=ScoreOptions(
                    timesteps=(BELOW,), weight="vsd", critic_weight="vsd", guidance=GUIDANCE, critic_guidance=GUIDANCE
                ),
                student=RoleOptions(rate=1e-4),
                critic_head_start=30,
                regression_weight=0.5,
            )
        ),
        {"steps": 110, "ema_decay": 0.95},
        start="pairs",
        title="fewstep-tiny-sd-swiftbrush-1-step",
    ),
}
