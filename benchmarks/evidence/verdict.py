"""Reproduced, partly, refuted: from the figures of every seed."""

from statistics import fmean, stdev

from .claim import Claim, Rule

WORDS = {"holds": "reproduced", "fails": "refuted", "open": "not settled"}
LEAST = 2  # common seeds that settle a difference


def of_rule(rule: Rule, arms: dict[str, list[dict]]) -> str:
    """ "holds" or "fails" where the figures differ by more than the difference itself spreads, else "open".

    "missing" without a common seed; one alone has no spread and settles nothing.
    """
    apart = differences(rule, arms)
    if not apart:
        return "missing"
    if len(apart) < LEAST or abs(fmean(apart)) <= deviation(apart):
        return "open"
    return "holds" if (fmean(apart) > 0) == rule.larger else "fails"


def differences(rule: Rule, arms: dict[str, list[dict]]) -> list[float]:
    """`better` less `than`, of each seed that both have.

    Paired by seed and budget: the arms of one seed have the same captions and noises, and students the same data and
    steps.
    """
    better, than = (by_seed(rule.figure, arms.get(name, [])) for name in (rule.better, rule.than))
    return [better[seed] - than[seed] for seed in sorted(better.keys() & than.keys())]


def by_seed(figure: str, records: list[dict]) -> dict[tuple, float]:
    """{(seed, steps of a student trained for the claim): the figure}, of the records that have it."""
    return {(one["seed"], one.get("budget", 0)): one[figure] for one in records if figure in one}


def deviation(values: list[float]) -> float:
    return stdev(values) if len(values) > 1 else 0.0


def of_claim(claim: Claim, arms: dict[str, list[dict]]) -> str:
    """One word for all of its rules; a sweep needs one arm that beats both parents."""
    said = [of_rule(rule, arms) for rule in claim.rules]
    if "missing" in said:
        return "not measured yet"
    if claim.sweep:
        return sweep(claim, arms)
    if len(set(said)) == 1:
        return WORDS[said[0]]
    return "partly" if "holds" in said else "refuted" if "fails" in said else "not settled"


def sweep(claim: Claim, arms: dict[str, list[dict]]) -> str:
    """Whether some arm between is better than both parents."""
    between = {rule.better for rule in claim.rules}
    said = [{of_rule(rule, arms) for rule in claim.rules if rule.better == name} for name in between]
    if {"holds"} in said:
        return "reproduced"
    return "refuted" if all("fails" in words for words in said) else "not settled"
