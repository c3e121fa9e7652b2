"""docs/evidence.md from the figures."""

from statistics import fmean

from ..quality.fetch import ROOT
from .claims import CLAIMS, FIGURES, Claim, Rule
from .verdict import deviation, of_claim, of_rule

PAGE = ROOT / "docs" / "evidence.md"
HEAD = """# The papers' claims, measured

On the tiny base and its shipped students, by `python run.py bench evidence` (`benchmarks/results/evidence.json`).
Every seed has its own captions and noises, the same for all arms. A claim is **reproduced** where the difference has
the sign it says and is larger than its own spread over two seeds or more, **refuted** where it has the other sign,
**partly** where some of its comparisons hold. A claim about networks of billions of weights is neither proved nor
disproved by one of four million: this says what holds *here*.
"""
COLUMNS = f"| | {' | '.join(FIGURES)} | seeds |\n|{'---|' * (len(FIGURES) + 2)}"
SAID = {"holds": "yes", "fails": "no, the reverse", "open": "not settled by these seeds", "missing": "not measured yet"}


def page(arms: dict[str, list[dict]]) -> str:
    """The page: a table of verdicts, then each claim's figures."""
    words = "\n".join(f"- *{name}*: {meaning}." for name, meaning in FIGURES.items())
    verdicts = "\n".join(
        f"| [{claim.name}](#{claim.name}) | {claim.source} | **{of_claim(claim, arms)}** |" for claim in CLAIMS
    )
    table = f"| claim | source | here |\n|---|---|---|\n{verdicts}"
    return "\n".join([HEAD, words, "", table, "", students(arms), *(section(claim, arms) for claim in CLAIMS)])


def students(arms: dict[str, list[dict]]) -> str:
    """Every way of sampling that was measured and mixes nothing, by steps and then by distance."""
    every = dict.fromkeys(arm for claim in CLAIMS for arm in claim.arms if not arm.between and arm.name in arms)
    ordered = sorted(every, key=lambda arm: (arm.steps, fmean(one["distance"] for one in arms[arm.name])))
    rows = "\n".join(row(arm.name, arms[arm.name]) for arm in ordered)
    return f"## All students\n\nn = 400 a seed, of seeds that chose nothing.\n\n{COLUMNS}\n{rows}\n"


def section(claim: Claim, arms: dict[str, list[dict]]) -> str:
    """A claim's sentence, its arms' figures and its comparisons."""
    rows = "\n".join(row(arm.name, arms.get(arm.name, [])) for arm in claim.arms)
    rules = "\n".join(f"- {told(rule)}: {SAID[of_rule(rule, arms)]}" for rule in claim.rules)
    note = f"{claim.note}\n\n" if claim.note else ""
    return f"## {claim.name}\n\n{claim.says} ({claim.source})\n\n{note}{COLUMNS}\n{rows}\n\n{rules}\n"


def row(name: str, records: list[dict]) -> str:
    cells = [figure([one[kind] for one in records]) for kind in FIGURES]
    return f"| {name} | {' | '.join(cells)} | {', '.join(str(one['seed']) for one in records) or '-'} |"


def figure(values: list[float]) -> str:
    """ "12.1 +- 0.3" over seeds."""
    if not values:
        return "-"
    digits = 2 if max(values) > 2 else 3
    spread = f" +- {deviation(values):.{digits}f}" if len(values) > 1 else ""
    return f"{fmean(values):.{digits}f}{spread}"


def told(rule: Rule) -> str:
    return f"{rule.figure} of *{rule.better}* is {'above' if rule.larger else 'below'} that of *{rule.than}*"
