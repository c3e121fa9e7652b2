"""Methods: tables of turns."""

from dataclasses import dataclass, replace
from functools import partial

from .adversarial import discriminate
from .config import require
from .matching import (
    ReconstructionOptions,
    ScoreOptions,
    denoising,
    distribution_matching,
    made_pair,
    reconstruction,
    reconstruction_pair,
    to_pictures,
)
from .terms import ConsistencyOptions, consistency, consistency_pair
from .turns import Method, Turn, one_term


def lcm(options: ConsistencyOptions) -> Method:
    """LCM / LCM-LoRA: one student, one term; the target is the student itself or its moving average."""
    return Method(
        "LCM", options, (one_term(consistency, options),), ("student", "target"), sampler="lcm", schedule="lcm"
    )


def lcf(options: ConsistencyOptions) -> Method:
    """LCF: consistency on the pictures' own trajectories, without a teacher; the model it starts from is an LCM."""
    return replace(lcm(replace(options, solver="data", guidance_min=1.0, guidance_max=1.0)), name="LCF")


@dataclass(frozen=True, kw_only=True)
class TSCDOptions:
    """Trajectory segmented consistency distillation (Ren et al. 2024, Hyper-SD), algorithm 1, phase by phase.

    The paper gives k = 8, 4, 2, 1 and says that MSE suits 8 and 4, the adversarial loss 2 and 1, without weights. Later
    phases start from the student before; whether it is their teacher too is ambiguous: `previous` chooses. A student
    that teaches has guidance inside already and is asked without.
    """

    segments: tuple[int, ...] = (8, 4, 2, 1)
    phase_steps: tuple[int, ...] = (250, 250, 250, 250)
    distance: tuple[float, ...] = (1.0, 1.0, 0.5, 0.25)
    adversarial: tuple[float, ...] = (0.0, 0.05, 0.1, 0.2)
    previous: bool = False  # teacher of later phases: the base, or the student of the phase before
    discriminator_rate: float = 1e-5  # PCM's value
    consistency: ConsistencyOptions = ConsistencyOptions(
        boundary=False, end="random", target="ema", guidance_min=8.5, guidance_max=8.5
    )

    def __post_init__(self):
        lengths = {len(self.segments), len(self.phase_steps), len(self.distance), len(self.adversarial)}
        require(
            len(lengths) == 1 and self.segments,
            "TSCD: segments, phase_steps, distance and adversarial need one number for each phase, got "
            f"{list(self.segments)}, {list(self.phase_steps)}, {list(self.distance)}, {list(self.adversarial)}.",
        )
        require(min(self.phase_steps) >= 1, f"TSCD: every phase needs steps, got {list(self.phase_steps)}.")

    def phases(self) -> list[tuple[int, int | None, ConsistencyOptions]]:
        """(first step, last step, options) of each phase; the last one goes on to the end."""
        found, first = [], 0
        for number, (k, steps) in enumerate(zip(self.segments, self.phase_steps)):
            last = None if number == len(self.segments) - 1 else first + steps
            options = replace(
                self.consistency, segments=k, distance=self.distance[number], adversarial=self.adversarial[number]
            )
            if self.previous and number:
                options = replace(options, teacher="previous", guidance_min=1.0, guidance_max=1.0)
            found.append((first, last, options))
            first += steps
        return found


def tscd(options: TSCDOptions) -> Method:
    """TSCD: a student turn per phase, and a discriminator where needed. PCM: end floor; TCD and CTM: k = 1."""
    turns, roles = [], ["student", "target"]
    for first, last, phase in options.phases():
        turns.append(one_term(consistency, phase, first=first, last=last))
        if phase.adversarial:
            pair = partial(consistency_pair, options=phase)
            judge = partial(discriminate, pair=pair, window=1000 // phase.segments)
            turns.append(Turn("discriminator", ((judge, 1.0),), 1, first, last, options.discriminator_rate))
    if any(turn.role == "discriminator" for turn in turns):
        roles.append("discriminator")
    if options.previous:
        roles.append("previous")
    handovers = tuple(first for first, _, _ in options.phases() if first)
    k = options.segments[-1]
    schedule = "lcm" if k == 1 else "segments"
    most = 8 if k == 1 else k
    return Method("TSCD", options, tuple(turns), tuple(roles), "tcd", schedule, handovers, most=most)


def imagine_flash(options: ReconstructionOptions, discriminator_rate: float = 1e-5) -> Method:
    """Imagine Flash: reconstruction on the student's own rollout; only forward starts look at pictures."""
    turns = [one_term(reconstruction, options)]
    if options.adversarial:
        pair = partial(reconstruction_pair, options=options)
        turns.append(
            Turn(
                "discriminator",
                ((partial(discriminate, pair=pair, window=1000), 1.0),),
                learning_rate=discriminator_rate,
            )
        )
    roles = ("student", "target", "discriminator") if options.adversarial else ("student", "target")
    return Method(
        "ImagineFlash",
        options,
        tuple(turns),
        roles,
        "imagine_flash",
        "trailing",
        pictures=options.start == "forward",
        timesteps=(options.timesteps,),
        most=len(options.timesteps),
    )


@dataclass(frozen=True, kw_only=True)
class ScoreMethodOptions:
    """How student and critic take turns. anchor, pictures: weights of the regression terms, 0 is off."""

    score: ScoreOptions = ScoreOptions()
    student_every: int = 5  # critic turns per student turn: DMD2 5-10, SwiftBrush 1
    critic_rate: float = 1e-4
    discriminator_rate: float = 1e-5  # of heads on the teacher; heads on the critic learn at its rate
    anchor: float = 0.0  # MSE to the teacher's own picture of the same noise (DMD's regression, Hyper-SD's MSE)
    anchor_steps: int = 8
    pictures: float = 0.0

    def __post_init__(self):
        require(self.student_every >= 1, f"student_every must be at least 1, got {self.student_every}.")
        require(self.critic_rate > 0, f"critic_rate must be positive, got {self.critic_rate}.")


def score_method(name: str, options: ScoreMethodOptions) -> Method:
    """Student against critic: the critic learns every step, the student every student_every."""
    score, terms = options.score, [(partial(distribution_matching, options=options.score), 1.0)]
    if options.anchor:
        regression = ReconstructionOptions(
            timesteps=score.timesteps[:1], shift="none", teacher_steps=options.anchor_steps, guidance=score.guidance
        )
        terms.append((partial(reconstruction, options=regression), options.anchor))
    if options.pictures:
        terms.append((partial(to_pictures, options=score), options.pictures))
    turns = [
        Turn("student", tuple(terms), every=options.student_every),
        one_term(denoising, score, role="critic", learning_rate=options.critic_rate),
    ]
    if score.adversarial and score.features == "teacher":
        judge = partial(discriminate, pair=partial(made_pair, options=score), window=1000)
        turns.append(Turn("discriminator", ((judge, 1.0),), learning_rate=options.discriminator_rate))
    roles = ("student", "target", "critic")
    return Method(
        name,
        options,
        tuple(turns),
        (*roles, "discriminator") if score.adversarial else roles,
        "lcm",
        "trailing",
        pictures=bool(options.pictures or score.adversarial),
        timesteps=(score.timesteps,),
        most=len(score.timesteps),
        judge=score.features if score.adversarial else "teacher",
    )


def dmd(options: ScoreMethodOptions) -> Method:
    """DMD / DMD2: after Yin et al. 2024; as Hyper-SD's one-step enhancement it starts from the TSCD LoRA."""
    return score_method("DMD", options)


def swiftbrush(options: ScoreMethodOptions) -> Method:
    """SwiftBrush v2: one step, vsd weight, both scores guided, critic and student turn about."""
    require(len(options.score.timesteps) == 1, "SwiftBrush: the student has one step; DMD trains several.")
    return score_method("SwiftBrush", options)


@dataclass(frozen=True)
class Together:
    """The options of several methods."""

    parts: tuple


def total(first: Method, second: Method, weight: float) -> Method:
    """first + weight second: equal turns become one with the terms of both, the others stand side by side."""
    turns = list(first.turns)
    for turn in second.turns:
        weighted = replace(turn, terms=tuple((term, weight * w) for term, w in turn.terms))
        key = replace(turn, terms=())
        twin = next((n for n, own in enumerate(turns) if replace(own, terms=()) == key), None)
        if twin is None:
            turns.append(weighted)
        else:
            turns[twin] = replace(turns[twin], terms=turns[twin].terms + weighted.terms)
    return replace(
        first,
        name=f"{first.name}+{second.name}",
        options=Together((first.options, second.options)),
        turns=tuple(turns),
        roles=tuple(dict.fromkeys(first.roles + second.roles)),
        handovers=tuple(sorted({*first.handovers, *second.handovers})),
        pictures=first.pictures or second.pictures,
        on_pictures=first.on_pictures + second.on_pictures,
        judge=common_judge(first, second),
    )


def common_judge(first: Method, second: Method) -> str:
    """Whose features the one discriminator of a sum looks at."""
    judges = {method.judge for method in (first, second) if "discriminator" in method.roles}
    require(
        len(judges) < 2,
        "FewStepMethodSum: one method's discriminator looks at the critic, the other's at the teacher. Set features of "
        "FewStepMethodDMD to teacher.",
    )
    return next(iter(judges), "teacher")
