"""The students that claims have trained: each a stage (recipes/students) as a function of the budget in steps.

All of a claim have the same data, batches, rates and steps, and differ in what it is about. The budget is small, so a
student is far from finished; rates are high for it. `start` is a student of this table or a shipped one.
"""

from collections.abc import Callable

from ...recipes.students.table import BELOW, GUIDANCE, Stage
from ...training import methods
from ...training.method import Method
from ...training.on_images import with_feedback
from ...training.options import (
    ConsistencyOptions,
    DiscriminatorOptions,
    DMDOptions,
    FeedbackOptions,
    ReconstructionOptions,
    RoleOptions,
    ScoreOptions,
    SwiftBrushOptions,
    TSCDOptions,
)
from ...training.options_trajectory import TrajectoryOptions

TURBO = "DMD2, 1 step"  # the shipped one-step student, trained by an adversary as SD-Turbo was
DATA, ALL = 256, 4096  # prompts, and latents where a method looks at them; more than there are prompts
FAST = {"batch_size": 8, "ema_decay": 0.95, "learning_rate": 1e-3, "warmup": 5}
SLOW = {"batch_size": 8, "ema_decay": 0.95}  # rates are the method's
ONE_GUIDANCE = {"guidance_min": GUIDANCE, "guidance_max": GUIDANCE}
JUMP = ConsistencyOptions(boundary=False, end="random", target="ema", skip=100, solver_steps=2, **ONE_GUIDANCE)
WEIGHT, ENOUGH = 1.0, 0.25  # of the alignment loss; the score of real pictures through the VAE (benchmarks/rewards)


def stage(method: Method, steps: int, settings: dict, start: str = "", count: int = 0) -> Stage:
    return Stage(method, {**settings, "steps": max(1, steps)}, start=start, count=count or DATA)


def flash(**options) -> Callable[[int], Stage]:
    """|| sg x0_teacher(q(x0_s, eps, gamma(t))) - x0_s ||^2, x0_s = x0_student(x_T->t), at 999, 666, 332."""
    method = methods.imagine_flash(ReconstructionOptions(guidance=GUIDANCE, **options))
    return lambda budget: stage(method, budget, FAST)


def consistency(skip: int) -> Callable[[int], Stage]:
    """d( f(z_n+k), sg f(z^_n) ), z^_n by one guided DDIM step of k timesteps; a grid of 1,000 points for any k."""
    options = ConsistencyOptions(grid=1000, skip=skip, **ONE_GUIDANCE)
    calm = {**FAST, "learning_rate": 3e-4}  # at 1e-3 a target that is the student itself runs away
    return lambda budget: stage(methods.lcm(options), budget, calm)


def segmented(*segments: int, adversary: float = 0.0, share: float = 1.0) -> Callable[[int], Stage]:
    """TSCD through the given k in equal parts; alone, k = 1, is TCD. adversary: its weight at k = 2 and 1."""

    def made(budget: int) -> Stage:
        steps = max(len(segments), round(share * budget))
        phase = steps // len(segments)  # the last one goes on to the end
        heads = DiscriminatorOptions(head_start=phase // 4, level_max=700)
        options = TSCDOptions(
            segments=segments,
            phase_steps=(phase,) * len(segments),
            distance=(1.0,) * len(segments),
            adversarial=tuple(adversary if k < 4 else 0.0 for k in segments),
            discriminator=heads,
            consistency=JUMP,
        )
        return stage(methods.tscd(options), steps, FAST)

    return made


def dmd(start: str, share: float) -> Callable[[int], Stage]:
    """(x0_fake - x0_real) / mean |x0 - x0_real| at t = 999; a quarter of the steps are the critic's alone."""

    def made(budget: int) -> Stage:
        steps = round(share * budget)
        options = DMDOptions(score=ScoreOptions(timesteps=(999,), guidance=GUIDANCE), **turns(steps))
        return stage(methods.dmd(options), steps, SLOW, start, ALL)

    return made


def dmd_at_four(budget: int) -> Stage:
    """DMD at TDM's four timesteps, from fresh noise after every step as DMD2 has it."""
    scores = ScoreOptions(timesteps=TrajectoryOptions().timesteps(4), guidance=GUIDANCE)
    return stage(methods.dmd(DMDOptions(score=scores, **turns(budget))), budget, SLOW, count=ALL)


def tdm(budget: int) -> Stage:
    """w d(x0, sg(x0 + x0_real - x0_fake)) at the levels of one step of the deterministic trajectory."""
    return stage(methods.tdm(TrajectoryOptions(guidance=GUIDANCE, **turns(budget))), budget, SLOW, count=ALL)


def turns(steps: int) -> dict:
    """Student and critic turn about; the critic first, since one that is still the teacher says nothing."""
    fast = {"student": RoleOptions(rate=1e-4), "critic": RoleOptions(rate=1e-3)}
    return {"student_every": 1, "critic_head_start": steps // 4, **fast}


def brush(
    start: str = TURBO,
    count: int = 0,
    guidance: float = GUIDANCE,
    critic_guidance: float | None = None,
    feedback: FeedbackOptions | None = None,
) -> Callable[[int], Stage]:
    """s^2 (eps_real - eps_fake) at t = 500 with unit noise; critic_guidance: None is as guidance; feedback: weight
    relu(alpha - LiT score) beside it."""

    def made(budget: int) -> Stage:
        scores = {"guidance": guidance, "critic_guidance": critic_guidance or guidance}
        scores |= {"weight": "vsd", "critic_weight": "vsd"}
        method = methods.swiftbrush(
            SwiftBrushOptions(score=ScoreOptions(timesteps=(BELOW,), **scores), **turns(budget))
        )
        if feedback:
            method = with_feedback(method, feedback, reward())
        return stage(method, budget, SLOW, start, count or ALL)

    return made


def reward():
    """The LiT score; its towers are in benchmarks/requirements.txt."""
    from fewstep.host.rewards import lit

    return lit.similarity("lit-emoji.safetensors", "bench evidence")


TRAINED = {
    "backward, shifted": flash(),
    "forward, shifted": flash(start="forward"),
    "backward, plain target": flash(shift="none"),
    "TSCD, k = 8 4 2 1": segmented(8, 4, 2, 1),
    "TCD, k = 1": segmented(1),
    "TSCD with an adversary": segmented(8, 4, 2, 1, adversary=0.1),
    "LCM, skip 20": consistency(20),
    "LCM, skip 1": consistency(1),
    "SwiftBrush, turbo-like start": brush(),
    "SwiftBrush, plain start": brush(start=""),
    "SwiftBrush, clamped": brush(feedback=FeedbackOptions(alpha=ENOUGH, weight=WEIGHT)),
    "SwiftBrush, naive": brush(feedback=FeedbackOptions(alpha=1.0, weight=WEIGHT, fade="none")),
    "SwiftBrush, 32 prompts": brush(count=32),
    "SwiftBrush, guidance 4.5": brush(guidance=4.5),
    "SwiftBrush, critic unguided": brush(guidance=1.5, critic_guidance=1.0),
    "TSCD, half the steps": segmented(8, 4, 2, 1, share=0.5),
    "TSCD, then DMD": dmd("TSCD, half the steps", 0.5),
    "DMD alone": dmd("", 1.0),
    "DMD at four timesteps": dmd_at_four,
    "TDM": tdm,
}
