"""The page docs/templates.md: every disagreement between an official template and the row of its few-step file."""

from collections.abc import Iterable
from itertools import groupby

from fewstep.weights.workflows.check import Finding

from .exceptions import reason

HEAD = """# The official templates and their few-step files

Made by `python run.py bench templates` from comfyui-workflow-templates-json {version}; do not edit.

{sampling} templates sample on this machine; {with_few} of them load one of {files} few-step files, all of them known
here. Below is every setting that differs from the file's row, with the reason why the row stands: an author's own
source wins over a template. `FewStep Check Workflow` and `python run.py check FILE` say the same of any workflow.
"""


def page(version: str, counts: dict[str, int], found: Iterable[tuple[str, Finding]]) -> str:
    """The page's text. counts: sampling, with_few, files."""
    lines = [HEAD.format(version=version, **counts)]
    for template, group in groupby(sorted(found, key=lambda pair: pair[0]), key=lambda pair: pair[0]):
        lines += [f"## {template}", "", "| file | setting | template | the file's own | why |", "|---|---|---|---|---|"]
        lines += [f"| {' | '.join(cells(template, finding))} |" for _, finding in group]
        lines.append("")
    return "\n".join(lines)


def cells(template: str, finding: Finding) -> tuple[str, ...]:
    turned = f" (with {', '.join(finding.when)})" if finding.when else ""
    why = reason(template, finding.file, finding.field) or ""
    texts = (f"`{finding.file}`{turned}", finding.field, finding.found, finding.wanted, why)
    return tuple(text.replace("|", "\\|") for text in texts)
