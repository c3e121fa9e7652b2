"""docs/evidence.md from the figures."""

from pathlib import Path
from statistics import fmean

from ..quality.fetch import ROOT
from . import strips
from .claim import FIGURES, Arm, Claim, Rule
from .claims import CLAIMS
from .verdict import deviation, differences, of_claim, of_rule

PAGE = ROOT / "docs" / "evidence.md"
HEAD = """# The papers' claims, measured

On the tiny base and its students, by `python run.py bench evidence` (`benchmarks/results/evidence.json`).
Every seed has its own captions and noises, the same for all arms. A claim is **reproduced** where the difference has
the sign it says and is larger than its own spread over two seeds or more, **refuted** where it has the other sign,
**partly** where some of its comparisons hold. By chance alone 23 of 100 comparisons over three seeds pass for a
difference (39 over two), so one is a hint, and several that agree are evidence. A claim about networks of billions of
weights is neither proved nor disproved by one of four million: this says what holds *here*.
"""
SHORT = """## Students trained for a claim

Below, the arms of a claim are students that were trained for it, anew for each seed: the same data, batches, rates and
steps, and one thing that differs (`benchmarks/evidence/students.py`). **The budget is small**: tens of steps in batches
of eight, where the papers take thousands in hundreds, so what is compared is how the methods begin, not where they end.
A difference that needs a long training is not settled here, and a distance of these students says nothing about the
method's best. Compare within a table: budgets and numbers of pictures differ between claims. Rows of the pictures are
of the first seed.
"""
COLUMNS = f"| | {' | '.join(FIGURES)} | seeds |\n|{'---|' * (len(FIGURES) + 2)}"
SAID = {"holds": "yes", "fails": "no, the reverse", "open": "not settled by these seeds", "missing": "not measured yet"}


def page(arms: dict[str, list[dict]], pictures: Path = strips.PLACE) -> str:
    """The page: a table of verdicts, then each claim's figures. pictures: the folder of the claims' sheets."""
    words = "\n".join(f"- *{name}*: {meaning}." for name, meaning in FIGURES.items())
    verdicts = "\n".join(
        f"| [{claim.name}](#{claim.name}) | {claim.source} | **{of_claim(claim, arms)}** |" for claim in CLAIMS
    )
    table = f"| claim | source | here |\n|---|---|---|\n{verdicts}"
    shipped, trained = (
        [section(claim, arms, pictures) for claim in CLAIMS if claim.trained == kind] for kind in (False, True)
    )
    return "\n".join([HEAD, words, "", table, "", students(arms), *shipped, SHORT, *trained])


def students(arms: dict[str, list[dict]]) -> str:
    """Every way of sampling a shipped student that was measured, by steps and then by distance."""
    every = dict.fromkeys(arm for claim in CLAIMS for arm in claim.arms if arm.name in arms and is_shipped(arm))
    ordered = sorted(every, key=lambda arm: (arm.steps, fmean(one["distance"] for one in arms[arm.name])))
    rows = "\n".join(row(arm.name, arms[arm.name]) for arm in ordered)
    return f"## All shipped students\n\nn = 400 a seed, of seeds that chose nothing.\n\n{COLUMNS}\n{rows}\n"


def is_shipped(arm: Arm) -> bool:
    return not (arm.between or arm.trained)


def section(claim: Claim, arms: dict[str, list[dict]], pictures: Path) -> str:
    """A claim's sentence, what its arms differ in, their figures and comparisons, and pictures of them."""
    rows = "\n".join(row(arm.name, arms.get(arm.name, [])) for arm in claim.arms)
    rules = "\n".join(f"- {told(rule)}: {outcome(rule, arms)}" for rule in claim.rules)
    words = [claim.equation, claim.note, how_long(claim, arms), sheet(claim, pictures)]
    between = "".join(f"{text}\n\n" for text in words if text)
    return f"## {claim.name}\n\n{claim.says} ({claim.source})\n\n{between}{COLUMNS}\n{rows}\n\n{rules}\n"


def how_long(claim: Claim, arms: dict[str, list[dict]]) -> str:
    """The budgets and numbers of pictures of its records, where its students were trained for it."""
    records = [one for arm in claim.arms for one in arms.get(arm.name, []) if claim.trained]
    budgets, counts = (sorted({one[key] for one in records if key in one}) for key in ("budget", "n"))
    said = " and ".join(map(str, budgets)), " or ".join(map(str, counts))
    return f"{said[0]} steps of 8, n = {said[1]} a seed." if budgets else ""


def sheet(claim: Claim, pictures: Path) -> str:
    """Its pictures, where they were drawn: a row for each arm, in the order of the table."""
    if not (pictures / f"{claim.name}.webp").exists():
        return ""
    return f"![A row of images for each arm, in the order of the table](evidence/{claim.name}.webp)"


def row(name: str, records: list[dict]) -> str:
    cells = [figure([one[kind] for one in records if kind in one]) for kind in FIGURES]
    return f"| {name} | {' | '.join(cells)} | {', '.join(str(one['seed']) for one in records) or '-'} |"


def figure(values: list[float]) -> str:
    """ "12.1 +- 0.3" over seeds."""
    if not values:
        return "-"
    digits = 2 if max(map(abs, values)) > 2 else 3
    spread = f" +- {deviation(values):.{digits}f}" if len(values) > 1 else ""
    return f"{fmean(values):.{digits}f}{spread}"


def told(rule: Rule) -> str:
    return f"{rule.figure} of *{rule.better}* is {'above' if rule.larger else 'below'} that of *{rule.than}*"


def outcome(rule: Rule, arms: dict[str, list[dict]]) -> str:
    """ "yes (-1.2 +- 0.3)": the verdict and the difference that it is from."""
    apart = differences(rule, arms)
    return SAID[of_rule(rule, arms)] + (f" ({figure(apart)})" if apart else "")
