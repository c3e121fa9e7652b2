"""Methods: tables of turns."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate

from .adversarial import discriminate
from .checks import require
from .consistency import consistency, consistency_pair
from .method import Method, Turn, one_term
from .options import ConsistencyOptions, ReconstructionOptions, ScoreMethodOptions, TSCDOptions
from .reconstruction import reconstruction, reconstruction_pair
from .score import denoising, distribution_matching, made_pair, to_pictures


def discriminator_turn(pair: Callable, options: object, rate: float, window: int = 1000, **when) -> Turn:
    """The discriminator's turn on pair(roles, path, batch, options) -> (fake, real, t)."""
    judge = partial(discriminate, pair=partial(pair, options=options), window=window)
    return Turn("discriminator", ((judge, 1.0),), learning_rate=rate, **when)


def lcm(options: ConsistencyOptions) -> Method:
    """LCM / LCM-LoRA: one student, one term; the target is the student itself or its moving average."""
    return Method("LCM", options, (one_term(consistency, options),), sampler="lcm", schedule="lcm")


def lcf(options: ConsistencyOptions) -> Method:
    """LCF: consistency on the pictures' own trajectories, without a teacher; the model it starts from is an LCM."""
    return replace(lcm(replace(options, solver="data", guidance_min=1.0, guidance_max=1.0)), name="LCF")


def tscd(options: TSCDOptions) -> Method:
    """TSCD: a student turn per phase, and a discriminator where needed. PCM: end floor; TCD and CTM: k = 1."""
    turns, firsts = [], [0, *accumulate(options.phase_steps)]
    lasts = [*firsts[1:-1], None]  # the last phase goes on to the end
    phases = zip(firsts, lasts, options.segments, options.distance, options.adversarial)
    for first, last, k, weight, adversarial in phases:
        phase = replace(options.consistency, segments=k, distance=weight, adversarial=adversarial)
        if options.previous and first:
            phase = replace(phase, teacher="previous", guidance_min=1.0, guidance_max=1.0)
        turns.append(one_term(consistency, phase, first=first, last=last))
        if adversarial:
            rate, window = options.discriminator_rate, 1000 // k
            turns.append(discriminator_turn(consistency_pair, phase, rate, window, first=first, last=last))
    schedule, most = ("lcm", 8) if k == 1 else ("segments", k)  # the last phase's
    return Method("TSCD", options, tuple(turns), "tcd", schedule, most=most)


def imagine_flash(options: ReconstructionOptions, discriminator_rate: float = 1e-5) -> Method:
    """Imagine Flash: reconstruction on the student's own rollout; only forward starts look at pictures."""
    turns = [one_term(reconstruction, options)]
    if options.adversarial:
        turns.append(discriminator_turn(reconstruction_pair, options, discriminator_rate))
    own = {"timesteps": (options.timesteps,), "most": len(options.timesteps), "pictures": options.start == "forward"}
    return Method("ImagineFlash", options, tuple(turns), "imagine_flash", "trailing", **own)


def dmd(options: ScoreMethodOptions) -> Method:
    """DMD / DMD2 (Yin et al. 2024): the critic learns every step, the student every student_every.

    As Hyper-SD's one-step enhancement it starts from the TSCD LoRA.
    """
    score, first = options.score, options.score.timesteps[:1]
    picture = {"shift": "none", "teacher_steps": options.anchor_steps, "guidance": score.guidance}
    student = (
        (distribution_matching, score, 1.0),
        (reconstruction, ReconstructionOptions(timesteps=first, **picture), options.anchor),
        (to_pictures, score, options.pictures),
    )
    terms = tuple((partial(term, options=own), weight) for term, own, weight in student if weight)
    turns = [
        Turn("student", terms, every=options.student_every),
        one_term(denoising, score, "critic", learning_rate=options.critic_rate),
    ]
    if score.adversarial and score.features == "teacher":
        turns.append(discriminator_turn(made_pair, score, options.discriminator_rate))
    judge, looks = score.features if score.adversarial else "teacher", bool(options.pictures or score.adversarial)
    own = {"timesteps": (score.timesteps,), "most": len(score.timesteps), "pictures": looks, "judge": judge}
    return Method("DMD", options, tuple(turns), "lcm", "trailing", **own)


def swiftbrush(options: ScoreMethodOptions) -> Method:
    """SwiftBrush v2 (Dao et al. 2024): one step; in the paper vsd weights, both scores guided by 4.5, turn about."""
    require(len(options.score.timesteps) == 1, "SwiftBrush: the student has one step; DMD trains several.")
    return replace(dmd(options), name="SwiftBrush")


@dataclass(frozen=True)
class Together:
    """The options of several methods; weight: of the second."""

    parts: tuple
    weight: float = 1.0


def total(first: Method, second: Method, weight: float) -> Method:
    """first + weight second: equal turns become one with the terms of both, the others stand side by side."""
    together: dict[Turn, tuple] = {}
    for method, factor in ((first, 1.0), (second, weight)):
        for turn in method.turns:
            key, weighted = replace(turn, terms=()), tuple((term, factor * own) for term, own in turn.terms)
            together[key] = together.get(key, ()) + weighted
    judges = {method.judge for method in (first, second) if "discriminator" in method.roles}
    require(
        len(judges) < 2,
        "FewStepMethodSum: one method's discriminator looks at the critic, the other's at the teacher. Set features of "
        "FewStepMethodDMD to teacher.",
    )
    return replace(
        first,
        name=f"{first.name}+{second.name}",
        options=Together((first.options, second.options), weight),
        turns=tuple(replace(turn, terms=terms) for turn, terms in together.items()),
        pictures=first.pictures or second.pictures,
        on_pictures=(*first.on_pictures, *((term, weight * own) for term, own in second.on_pictures)),
        judge=next(iter(judges), "teacher"),
    )
