"""The stages: what each student starts from, learns by, and how long. A stage is a run folder of its own name."""

from dataclasses import dataclass, field, replace

from ...training import methods
from ...training.method import Method
from ...training.options import (
    ConsistencyOptions,
    DiscriminatorOptions,
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
FOUR = (BELOW, 350, 200, 80)
LATER = (BELOW, 300, 120, 39)  # the same student is better at these (README.md)
COSINE = {"decay": "cosine", "ema_decay": 0.98}
ON_A_GPU = {"batch_size": 96, "ema_decay": 0.99}
HEADS = DiscriminatorOptions(head_start=150, level_max=700)


@dataclass(frozen=True)
class Stage:
    """start: the stage whose LoRA it begins from; title: of its file in assets/loras, "" where it is only a step on the
    way; settings: of TrainConfig; timesteps: lists by step count that it was not trained for but is better at;
    pictures: trained on real ones, and not on what the base draws; count: latents that it draws."""

    method: Method
    settings: dict = field(default_factory=dict)
    start: str = ""
    title: str = ""
    timesteps: dict[int, tuple[int, ...]] = field(default_factory=dict)
    pictures: bool = False
    count: int = 8192


def dmd(
    timesteps: tuple[int, ...], regression_weight: float = 0.0, rate: float = 3e-4, guidance: float = GUIDANCE
) -> Method:
    """The critic learns fast and has a lead: with fewer turns it lags behind so small a student."""
    scores = ScoreOptions(timesteps=timesteps, guidance=guidance)
    fast = {"student": RoleOptions(rate=rate), "critic": RoleOptions(rate=1e-3), "critic_head_start": 30}
    return methods.dmd(DMDOptions(score=scores, student_every=1, regression_weight=regression_weight, **fast))


def dmd2(timesteps: tuple[int, ...]) -> Method:
    """With an adversary on real pictures; at ten times its weight it leads the student astray (README.md)."""
    adversary = {"adversarial": 0.05, "features": "teacher", "discriminator": HEADS}
    scores = ScoreOptions(timesteps=timesteps, guidance=GUIDANCE, **adversary)
    rates = {"student": RoleOptions(rate=1e-4), "critic": RoleOptions(rate=5e-4), "critic_head_start": 150}
    return methods.dmd(DMDOptions(score=scores, student_every=1, **rates))


def own_levels() -> Method:
    """Each of four steps at its own levels, so that the critic knows them apart; aims at what guidance 2 draws."""
    scores = ScoreOptions(timesteps=LATER, levels="segment", guidance=1.5)
    rates = {"student": RoleOptions(rate=1e-4), "critic": RoleOptions(rate=5e-4), "critic_head_start": 150}
    return methods.dmd(DMDOptions(score=scores, student_every=1, **rates))


def swiftbrush() -> Method:
    """The teacher's score guided by 1.5 and the critic's by 1, which aims at what guidance 2 draws; guided alike, both
    aim at what no guidance draws (docs/how-it-works.md). The critic on all layers."""
    scores = replace(SwiftBrushOptions().score, timesteps=(BELOW,), guidance=1.5, critic_guidance=1.0)
    critic = RoleOptions(rate=5e-4, rank=64, alpha=64.0, layers="all")
    turns = {"critic_head_start": 100, "student": RoleOptions(rate=5e-5), "critic": critic}
    return methods.swiftbrush(SwiftBrushOptions(score=scores, **turns))


def tscd(steps: int) -> Method:
    """Four phases of as many steps."""
    guidance = {"guidance_min": GUIDANCE, "guidance_max": GUIDANCE}
    jump = ConsistencyOptions(boundary=False, end="random", target="ema", skip=100, solver_steps=2, **guidance)
    heads = DiscriminatorOptions(head_start=50, level_max=700)
    return methods.tscd(TSCDOptions(phase_steps=(steps // 4,) * 4, consistency=jump, discriminator=heads))


def imagine_flash(adversarial: float = 0.0) -> Method:
    return methods.imagine_flash(ReconstructionOptions(guidance=GUIDANCE, adversarial=adversarial, discriminator=HEADS))


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
    ),
    "dmd2-4-steps": Stage(
        dmd2(FOUR),
        {"steps": 534, **ON_A_GPU},
        start="one-step-dmd-further",
        title="fewstep-tiny-sd-dmd2-4-steps",
        timesteps={2: (BELOW, 200), 3: (BELOW, 300, 100), 4: LATER},
        pictures=True,
    ),
    "dmd-4-segments": Stage(
        own_levels(),
        {"steps": 865, **ON_A_GPU, "ema_decay": 0.995},
        start="dmd2-4-steps",
        title="fewstep-tiny-sd-dmd-4-segments",
        timesteps={2: (BELOW, 120), 3: (BELOW, 300, 100)},
    ),
    "more-pairs": Stage(
        methods.pairs(PairsOptions(timestep=BELOW, guidance=GUIDANCE)),
        {"steps": 596, "learning_rate": 2e-3, "decay": "cosine", **ON_A_GPU, "batch_size": 192},
        count=16384,
    ),
    "one-step": Stage(
        dmd2((BELOW,)),
        {"steps": 502, **ON_A_GPU},
        start="more-pairs",
        title="fewstep-tiny-sd-dmd",
        timesteps={2: (BELOW, 100)},
        pictures=True,
    ),
    "swiftbrush": Stage(
        swiftbrush(),
        {"steps": 400, **COSINE},
        start="one-step",
        title="fewstep-tiny-sd-swiftbrush",
    ),
    "tscd": Stage(
        tscd(784),
        {"steps": 784, "learning_rate": 1e-3, "decay": "cosine", **ON_A_GPU},
        title="fewstep-tiny-sd-tscd",
        pictures=True,
    ),
    "unified": Stage(
        dmd2((999,)),
        {"steps": 239, **ON_A_GPU},
        start="tscd",
        title="fewstep-tiny-sd-tscd-dmd-unified",
        pictures=True,
    ),
    "flash": Stage(
        imagine_flash(),
        {"steps": 655, "learning_rate": 1e-3, "decay": "cosine", **ON_A_GPU},
        pictures=True,
    ),
    "imagine-flash": Stage(
        imagine_flash(adversarial=0.05),
        {"steps": 359, "learning_rate": 1e-4, **ON_A_GPU},
        start="flash",
        title="fewstep-tiny-sd-imagine-flash",
        pictures=True,
    ),
}
