"""Whether a workflow samples its few-step files as they were made to be sampled."""

from ..host import folders
from ..weights.workflows import graph as graphs
from ..weights.workflows import report
from ..weights.workflows.check import check
from .widgets import choice, text

OPEN = "the open workflow"


class FewStepCheckWorkflow:
    TITLE = "FewStep Check Workflow"
    DESCRIPTION = (
        "Reads a workflow, the open one or a JSON file, and says for each few-step file in it whether sampler, "
        "schedule, steps, cfg and strength fit, and what to change. Nothing is sampled or sent anywhere."
    )
    SEARCH_ALIASES = ["check", "lint", "lcm", "hyper-sd", "lightning", "wrong settings"]
    CATEGORY = "FewStep/loaders"
    FUNCTION = "check"
    OUTPUT_NODE = True
    RETURN_TYPES = ("STRING", "INT")
    RETURN_NAMES = ("report", "count")
    OUTPUT_TOOLTIPS = (
        "What fits and what does not, file by file.",
        "How many things do not fit.",
    )

    @classmethod
    def INPUT_TYPES(cls):
        which = "This one, or a JSON file in the input folder: Save or Export (API)."
        typed = "A workflow's JSON as text, used instead when it is not empty."
        return {
            "required": {"workflow": choice(which, [OPEN, *folders.input_files(".json")], default=OPEN)},
            "optional": {"workflow_json": text(typed, default="", multiline=True)},
            "hidden": {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"},
        }

    @classmethod
    def IS_CHANGED(cls, **_):
        """Always: the rest of the open workflow is no input of this node."""
        return float("nan")  # a new one: hosts compare lists, where the same nan is equal

    def check(self, workflow, workflow_json="", prompt=None, extra_pnginfo=None):
        if workflow_json.strip():
            graph = read(workflow_json, "workflow_json")
        elif workflow == OPEN:
            graph = graphs.from_data(opened(prompt, extra_pnginfo))
        else:
            path = folders.inside(folders.input_folder(), workflow, "workflow")
            graph = read(path.read_text(encoding="utf-8"), f'"{workflow}"')
        return "\n".join(report.lines(graph)), len(check(graph))


def read(text: str, what: str) -> graphs.Graph:
    """The graph of a JSON text; errors name where it is from."""
    try:
        return graphs.read(text)
    except ValueError as error:
        raise ValueError(f"{what} {error}") from error


def opened(prompt: dict | None, extra: dict | None) -> dict:
    """The open workflow as the page has it, with what is bypassed and switched off; else as it was queued."""
    found = (extra or {}).get("workflow") or prompt
    if not found:
        raise ValueError("the host did not say which workflow is open. Choose a file, or paste its JSON.")
    return found


NODES = (FewStepCheckWorkflow,)
