"""The findings of a workflow as sentences."""

from collections import Counter

from .check import Finding, chosen_runs, judged, settings_of, unused
from .graph import Graph
from .readers import File, Run

NONE = "No few-step file is loaded in this workflow, or by nodes that are not known here."


def lines(graph: Graph) -> list[str]:
    """One sentence a file and sampler, the same ones once with their number; then what no sampling uses."""
    counted = Counter(sentence(run, file) for run, file in chosen_runs(graph))
    found = [text if count == 1 else f"{text} ({count} samplings)" for text, count in counted.items()]
    found += [f"{name}: loaded, but no sampling uses it." for name in unused(graph)]
    return found or [NONE]


def sentence(run: Run, file: File) -> str:
    """What fits and what to change for one file at one sampler."""
    settings, wrong = settings_of(file), judged(run, file)
    when = f" With {' and '.join(run.switched)}:" if run.switched else ""
    if settings is None:
        return f"{file.name}: by its name a few-step file, but its settings are not known here. See its author's page."
    head = f"{file.name} ({settings.family}):{when}"
    if not wrong:
        return f"{head} fits."
    return f"{head} {'; '.join(map(change, wrong))}. Source: {settings.source}"


def change(finding: Finding) -> str:
    """What to change: cfg 4 -> 1."""
    return f"{finding.field} {finding.found} -> {finding.wanted}"
