"""The table of claims: verdicts from figures, the page, and the figures themselves."""

import numpy as np
import pytest
from fewstep.benchmarks.evidence import __main__ as evidence
from fewstep.benchmarks.evidence import figures, page, strips
from fewstep.benchmarks.evidence.claim import FIGURES, STUDENTS, Rule
from fewstep.benchmarks.evidence.claims import CLAIMS
from fewstep.benchmarks.evidence.students import TRAINED
from fewstep.benchmarks.evidence.verdict import of_claim, of_rule

LOWER = Rule("distance", "a", "b")
BY_NAME = {claim.name: claim for claim in CLAIMS}


def seeds(*values: float, figure: str = "distance") -> list[dict]:
    return [{"seed": seed, figure: value} for seed, value in enumerate(values)]


@pytest.mark.parametrize(
    ("a", "b", "word"),
    [
        ((10.0, 14.0), (12.0, 16.1), "holds"),
        ((12.0, 16.1), (10.0, 14.0), "fails"),
        ((10.0, 12.0), (10.5, 11.7), "open"),
    ],
)
def test_a_difference_that_changes_with_the_seed_settles_nothing(a, b, word):
    assert of_rule(LOWER, {"a": seeds(*a), "b": seeds(*b)}) == word


def test_one_common_seed_settles_nothing():
    a, b = seeds(10.0, 10.1), [{"seed": 1, "distance": 14.0}, {"seed": 2, "distance": 14.1}]
    assert of_rule(LOWER, {"a": seeds(10.0), "b": seeds(14.0)}) == "open"
    assert of_rule(LOWER, {"a": a, "b": b}) == "open"
    assert of_rule(LOWER, {"a": a, "b": seeds(14.0, 14.1)}) == "holds"


def test_a_rule_may_want_the_larger_figure():
    arms = {"a": seeds(0.4, 0.41, figure="saturation"), "b": seeds(0.3, 0.31, figure="saturation")}
    assert of_rule(Rule("saturation", "a", "b", larger=True), arms) == "holds"
    assert of_rule(Rule("saturation", "a", "b"), arms) == "fails"


def test_a_claim_without_all_its_arms_is_not_measured():
    assert of_claim(BY_NAME["diversity"], {}) == "not measured yet"


def test_some_of_the_comparisons_are_partly():
    claim = BY_NAME["tscd-against-lcm"]
    arms = {arm.name: seeds(*[10 + arm.steps if arm.student == "TSCD" else 13] * 2) for arm in claim.arms}
    assert of_claim(claim, arms) == "partly"


@pytest.mark.parametrize(("between", "word"), [(9.0, "reproduced"), (11.0, "refuted")])
def test_a_sweep_needs_one_mixture_that_beats_both_parents(between, word):
    claim = BY_NAME["merge"]
    parents = {claim.arms[0].name: 10.0, claim.arms[-1].name: 12.0}
    arms = {arm.name: seeds(*[parents.get(arm.name, between)] * 2) for arm in claim.arms}
    assert of_claim(claim, arms) == word


def test_every_rule_is_about_its_claims_own_arms_and_a_known_figure():
    for claim in CLAIMS:
        names = {arm.name for arm in claim.arms}
        assert all({rule.better, rule.than} <= names and rule.figure in FIGURES for rule in claim.rules), claim.name


def test_every_student_is_shipped():
    assets = page.ROOT / "assets" / "loras"
    assert all((assets / file).is_file() for file in STUDENTS.values())


def test_every_other_student_is_trained_from_a_shipped_one_or_one_before_it():
    asked = {name for claim in CLAIMS for arm in claim.arms for name in (arm.student, arm.between) if name}
    assert asked - set(STUDENTS) == set(TRAINED)
    for number, name in enumerate(TRAINED):
        if "clamped" not in name and "naive" not in name:  # those load the reward's networks
            start = TRAINED[name](8).start
            assert not start or start in STUDENTS or list(TRAINED).index(start) < number, name


def test_the_students_of_a_claim_have_the_budget_and_differ_in_one_thing():
    whole = {name: TRAINED[name](100) for name in TRAINED if "clamped" not in name and "naive" not in name}
    steps = {name: made.settings["steps"] for name, made in whole.items()}
    halves = ("TSCD, half the steps", "TSCD, then DMD")
    assert all(steps[name] == (50 if name in halves else 100) for name in steps)
    backward, forward = (whole[f"{start}, shifted"] for start in ("backward", "forward"))
    assert backward.settings == forward.settings and backward.count == forward.count
    assert backward.method.options.start == "backward" and forward.method.options.start == "forward"
    assert forward.method.images and not backward.method.images


def test_figures_of_another_budget_are_neither_compared_nor_kept():
    a = [{"seed": seed, "budget": 100, "distance": 10.0 + seed / 10} for seed in (11, 12)]
    b = [{"seed": seed, "budget": 50, "distance": 14.0} for seed in (11, 12)]
    assert of_rule(LOWER, {"a": a, "b": b}) == "missing"
    arm = BY_NAME["skip"].arms[0]
    held = {arm.name: a}
    assert (arm, 11) not in evidence.missing(held, ["skip"], [11], 100)
    assert (arm, 11) in evidence.missing(held, ["skip"], [11], 50)
    assert (arm, 13) in evidence.missing(held, ["skip"], [13], 100)


def test_a_record_of_the_same_seed_is_replaced(tmp_path):
    for distance in (10.0, 11.0):
        evidence.add({"seed": 12, "distance": distance}, "a", tmp_path / "evidence.json")
    evidence.add({"seed": 11, "distance": 9.0}, "a", tmp_path / "evidence.json")
    found = evidence.read(tmp_path / "evidence.json")["a"]
    assert found == [{"seed": 11, "distance": 9.0}, {"seed": 12, "distance": 11.0}]
    assert [file.name for file in tmp_path.iterdir()] == ["evidence.json"]


def test_saturation_and_contrast_of_plain_pictures():
    red = np.zeros((1, 4, 4, 3), np.uint8)
    red[..., 0] = 200
    half = np.zeros((1, 4, 4, 3), np.uint8)
    half[:, :2] = 255
    assert figures.saturation(red) == pytest.approx(1.0)
    assert figures.saturation(half) == 0.0
    assert figures.contrast(red) == pytest.approx(0.0, abs=1e-6)
    assert figures.contrast(half) == pytest.approx(0.5, abs=1e-3)


def test_the_spread_of_equal_features_is_none():
    features = np.tile(np.random.default_rng(0).normal(size=(1, 3, 8)), (4, 1, 1))
    assert figures.spread(features, np.zeros(8)) == pytest.approx(0.0, abs=1e-6)


def test_precision_falls_with_pictures_off_the_manifold_and_recall_with_modes_that_are_missing():
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(50, 4)), rng.normal(size=(50, 4)) + 30
    both = np.concatenate([left, right])
    precision, recall = figures.precision_and_recall(left + 0.01, both)
    assert precision > 0.95
    assert 0.4 < recall < 0.6
    precision, recall = figures.precision_and_recall(np.concatenate([both, both + 300]), both)
    assert 0.4 < precision < 0.6
    assert recall > 0.95


def test_the_page_tells_what_is_not_measured():
    text = page.page({})
    assert text.count("**not measured yet**") == len(CLAIMS)
    assert "| - | - |" in text


def test_the_page_tells_by_how_much_two_arms_differ():
    arms = {"a": seeds(10.0, 14.0), "b": seeds(12.0, 16.2)}
    assert page.outcome(LOWER, arms) == "yes (-2.10 +- 0.14)"
    assert page.outcome(LOWER, {}) == "not measured yet"


@pytest.mark.parametrize(("count", "share"), [(2, 0.392), (3, 0.225)])
def test_how_often_chance_passes_for_a_difference(count, share):
    """What the page says of it: pairs without any difference, and as many seeds."""
    drawn = np.random.default_rng(0).normal(size=(4000, count))
    zeros = [{"seed": seed, "distance": 0.0} for seed in range(count)]
    said = [of_rule(LOWER, {"a": seeds(*row), "b": zeros}) for row in drawn]
    assert 1 - said.count("open") / len(said) == pytest.approx(share, abs=0.03)


def test_a_sheet_holds_no_row_of_another_budget(tmp_path):
    claim, pictures = BY_NAME["skip"], np.zeros((8, 6, 6, 3), np.uint8)
    for number, arm in enumerate(claim.arms):
        strips.keep(pictures, tmp_path, arm, 11, 100 if number else 50)
    assert strips.write(claim, tmp_path, 11, 100, tmp_path) is None
    strips.keep(pictures, tmp_path, claim.arms[0], 11, 100)
    assert strips.write(claim, tmp_path, 11, 100, tmp_path).name == "skip.webp"
    assert strips.write(claim, tmp_path, 12, 100, tmp_path) is None
