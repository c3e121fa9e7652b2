"""What may change when a run is resumed: what a dead one is told to change, and nothing that makes it another run."""

import json
from dataclasses import asdict

import pytest
from fewstep.training.config import TrainConfig, check_resume
from fewstep.training.method import total
from fewstep.training.methods import dmd, imagine_flash, tscd
from fewstep.training.options import DMDOptions, ReconstructionOptions, RoleOptions, ScoreOptions, TSCDOptions


def settings_of(method) -> dict:
    return json.loads(json.dumps({**method.recipe(), **asdict(TrainConfig())}))


def score(every=5, critic=1e-4, **options):
    return dmd(DMDOptions(score=ScoreOptions(**options), student_every=every, critic=RoleOptions(rate=critic)))


def phases(*adversarial, segments=(2, 1)):
    return tscd(
        TSCDOptions(
            segments=segments,
            phase_steps=(1, 2),
            distance=(1.0, 1.0),
            adversarial=adversarial,
            previous_teacher=True,
        )
    )


@pytest.mark.parametrize(
    "before, now, changed",
    [
        (
            score(adversarial=0.01),
            score(2, 1e-3, adversarial=0.005, discriminator_weight=0.02),
            "score.adversarial score.discriminator_weight",
        ),
        (phases(0.0, 0.2), phases(0.0, 0.1), "adversarial"),
        (total(score(), imagine_flash(ReconstructionOptions()), 0.1),) * 2 + ("",),
        (
            total(score(adversarial=0.01, features="teacher"), phases(0.0, 0.2), 0.1),
            total(score(7, adversarial=0.02, features="teacher"), phases(0.0, 0.1), 0.1),
            "parts.0.score.adversarial parts.0.student_every parts.1.adversarial",
        ),
    ],
)
def test_what_a_dead_run_is_told_to_change_may_change(before, now, changed):
    said = check_resume(settings_of(before), settings_of(now), "The run")
    assert {text.split(" ")[0] for text in said} >= set(changed.split()) and bool(said) == bool(changed)
    assert not check_resume(settings_of(before), settings_of(before), "The run")


@pytest.mark.parametrize(
    "before, now, named",
    [
        (score(), score(adversarial=0.01), r"score.adversarial \(0.0 -> 0.01\)"),
        (score(adversarial=0.01), score(), r"score.adversarial \(0.01 -> 0.0\)"),
        (score(), score(guidance=3.0), r"score.guidance \(7.5 -> 3.0\)"),
        (phases(0.0, 0.2), phases(0.1, 0.2), "adversarial"),
        (phases(0.0, 0.2), phases(0.0, 0.2, segments=(4, 1)), "segments"),
        (phases(0.0, 0.2), total(phases(0.0, 0.2), score(), 0.1), r"parts \(None -> 2\)"),
        (total(phases(0.0, 0.2), score(), 0.1), phases(0.0, 0.2), r"parts \(2 -> None\)"),
        (total(phases(0.0, 0.2), score(), 0.1), total(phases(0.0, 0.2), score(guidance=3.0), 0.1), "parts.1.score"),
        (total(phases(0.0, 0.2), score(), 0.1), total(phases(0.0, 0.2), score(), 0.2), r"weight \(0.1 -> 0.2\)"),
    ],
)
def test_whatever_else_of_a_method_may_not(before, now, named):
    with pytest.raises(ValueError, match=f"The run was started with other settings: .*{named}"):
        check_resume(settings_of(before), settings_of(now), "The run")


def test_a_start_is_part_of_the_run():
    settings = settings_of(score())
    for before, now in (({}, {"start": "a b0"}), ({"start": "a b0"}, {}), ({"start": "a b0"}, {"start": "a b1"})):
        with pytest.raises(ValueError, match=r"other settings: start \("):
            check_resume({**settings, **before}, {**settings, **now}, "The run")
