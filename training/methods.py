"""Methods: tables of turns. A new one is a function here, and its options in `options.py`."""

from dataclasses import replace
from itertools import accumulate

from ..samplers.schedule import segment_floors
from .adversarial import FakeAndReal, discriminate
from .checks import require
from .consistency import consistency, consistency_pair
from .continuous import continuous_consistency
from .method import Method, Term, Turn
from .options import (
    ConsistencyOptions,
    DiscriminatorOptions,
    DMDOptions,
    PairsOptions,
    ReconstructionOptions,
    RoleOptions,
    SwiftBrushOptions,
    TSCDOptions,
)
from .options_continuous import ContinuousOptions
from .options_trajectory import TrajectoryOptions
from .pairs import regression
from .reconstruction import reconstruction, reconstruction_pair
from .score import denoising, distribution_matching, generated_pair
from .trajectory import trajectory_denoising, trajectory_matching

LCM_LORA = RoleOptions(rate=1e-4, rank=64, alpha=64.0)  # diffusers' recipe of LCM-LoRA


def trained_by(student: RoleOptions, heads: DiscriminatorOptions, **others: RoleOptions) -> dict:
    """The fields of Method that say how each role trains."""
    roles = {"student": student, **others, "discriminator": RoleOptions(rate=heads.rate, betas=heads.betas)}
    return {"roles_options": tuple(roles.items()), "discriminator_maps": heads.maps}


def lcm(options: ConsistencyOptions) -> Method:
    """LCM / LCM-LoRA: one student, one term; the target is the student itself or its moving average."""
    own = {"timesteps": own_lists(options.grid), "roles_options": (("student", LCM_LORA),)}
    return Method("LCM", options, (Turn("student", (Term(consistency, options),)),), "lcm", "lcm", **own)


def own_lists(grid: int, segments: int = 1) -> tuple[tuple[int, ...], ...]:
    """The student's timesteps for 1-8 steps where the grid is not the 50 points that schedules know."""
    if grid == 50:
        return ()
    if segments > 1:
        return ((999, *reversed(segment_floors(segments, grid)[1:])),)
    points = [1000 // grid * (grid - n) - 1 for n in range(grid)]
    return tuple(tuple(points[n * grid // count] for n in range(count)) for count in range(1, min(8, grid) + 1))


def lcf(options: ConsistencyOptions) -> Method:
    """LCF: consistency on the images' own trajectories, without a teacher; the model it starts from is an LCM."""
    return replace(lcm(replace(options, solver="data", guidance_min=1.0, guidance_max=1.0)), name="LCF")


def scm(options: ContinuousOptions) -> Method:
    """sCM (Lu and Song 2024): one student, one term, no grid: any list of timesteps will do.

    Added to DMD it has the form of rCM's loss (Zheng et al. 2025).
    """
    own = {"roles_options": (("student", LCM_LORA),)}
    return Method("sCM", options, (Turn("student", (Term(continuous_consistency, options),)),), "lcm", "lcm", **own)


def tscd(options: TSCDOptions) -> Method:
    """TSCD: a student turn per phase, and a discriminator where needed. PCM: end floor; TCD and CTM: k = 1."""
    turns, firsts = [], [0, *accumulate(options.phase_steps)]
    lasts = [*firsts[1:-1], None]  # the last phase goes on to the end
    for number, (first, last) in enumerate(zip(firsts, lasts)):
        phase = phase_options(options, number, first)
        turns.append(Turn("student", (Term(consistency, phase),), first=first, last=last))
        if phase.adversarial:
            contest = FakeAndReal(consistency_pair, phase, 1000 // phase.segments)
            turns.append(Turn("discriminator", (Term(discriminate, contest),), first=first, last=last))
    k, grid = options.segments[-1], options.consistency.grid
    own = {"timesteps": own_lists(grid, k), **trained_by(LCM_LORA, options.discriminator)}
    schedule, most = ("lcm", 8) if k == 1 else ("segments", k)  # the last phase's
    return Method("TSCD", options, tuple(turns), "tcd", schedule, most=most, eta=options.eta, **own)


def phase_options(options: TSCDOptions, number: int, first: int) -> ConsistencyOptions:
    """The consistency term of one phase, which begins at the step `first`."""

    def own(values: tuple, name: str):
        return {} if not values else {name: values[number if len(values) > 1 else 0]}

    guidance = own(options.guidance, "guidance_min") | own(options.guidance, "guidance_max")
    if options.previous_teacher and first:
        guidance = {"teacher": "previous", "guidance_min": 1.0, "guidance_max": 1.0}
    return replace(
        options.consistency,
        segments=options.segments[number],
        distance=options.distance[number],
        adversarial=options.adversarial[number],
        adversarial_from=first + options.discriminator.head_start,
        discriminator=options.discriminator,
        **own(options.skip, "skip"),
        **guidance,
    )


def imagine_flash(options: ReconstructionOptions) -> Method:
    """Imagine Flash: reconstruction on the student's own rollout; forward starts and the adversary look at images."""
    options = replace(options, adversarial_from=options.discriminator.head_start)
    turns = [Turn("student", (Term(reconstruction, options),))]
    if options.adversarial:
        contest = FakeAndReal(reconstruction_pair, options)
        turns.append(Turn("discriminator", (Term(discriminate, contest),)))
    images = options.start == "forward" or bool(options.adversarial and options.real == "data")
    own = {"timesteps": (options.timesteps,), "most": len(options.timesteps), "images": images}
    own |= trained_by(LCM_LORA, options.discriminator)
    return Method("ImagineFlash", options, tuple(turns), "imagine_flash", "trailing", **own)


def pairs(options: PairsOptions) -> Method:
    """Regression on noise-image pairs alone: a one-step student, and the start of a better one (DMD2, section 4.5)."""
    own = {"timesteps": ((options.timestep,),), "most": 1, "roles_options": (("student", LCM_LORA),)}
    return Method("Pairs", options, (Turn("student", (Term(regression, options),)),), "lcm", "trailing", **own)


def dmd(options: DMDOptions) -> Method:
    """DMD / DMD2 (Yin et al. 2023, 2024): the critic learns every step, the student every student_every.

    As Hyper-SD's one-step enhancement it starts from the TSCD LoRA.
    """
    score = replace(
        options.score, adversarial_from=max(options.score.discriminator.head_start, options.critic_head_start)
    )
    own_pairs = PairsOptions(
        timestep=score.timesteps[0], teacher_steps=options.regression_steps, guidance=score.guidance
    )
    student = [Term(distribution_matching, score)]
    if options.regression_weight:
        student.append(Term(regression, own_pairs, options.regression_weight))
    turns = [
        Turn("student", tuple(student), every=options.student_every, first=options.critic_head_start),
        Turn("critic", (Term(denoising, score),)),
    ]
    if score.adversarial and score.features == "teacher":
        turns.append(Turn("discriminator", (Term(discriminate, FakeAndReal(generated_pair, score)),)))
    looks = bool(options.regression_weight or score.adversarial)
    own = {"timesteps": (score.timesteps,), "most": len(score.timesteps), "images": looks}
    own["discriminator_features"] = score.features if score.adversarial else "teacher"
    own |= trained_by(options.student, score.discriminator, critic=options.critic)
    return Method("DMD", options, tuple(turns), "lcm", "trailing", **own)


def swiftbrush(options: SwiftBrushOptions) -> Method:
    """SwiftBrush v2 (Dao et al. 2024): DMD's turns under its own options, for one step."""
    require(len(options.score.timesteps) == 1, "SwiftBrush's student has one step; FewStep Method DMD trains several.")
    return replace(dmd(options), name="SwiftBrush")


def tdm(options: TrajectoryOptions) -> Method:
    """TDM (Luo et al. 2025): DMD's turns at every step of the student's deterministic trajectory, the critic first."""
    turns = (
        Turn("critic", (Term(trajectory_denoising, options),)),
        Turn(
            "student",
            (Term(trajectory_matching, options),),
            every=options.student_every,
            first=options.critic_head_start,
        ),
    )
    own = {"timesteps": options.lists(), "most": options.steps[-1], "images": False}
    own["roles_options"] = (("student", options.student), ("critic", options.critic))
    return Method("TDM", options, turns, "ddim", "trailing", **own)
