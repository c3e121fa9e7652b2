"""The training runs on disk."""

from ..host import folders
from ..host.names import is_plain, plain_name
from ..host.training.curve import smooth
from ..training.checks import require
from ..training.state import RunFolder, step_of
from . import report
from .widgets import choice

NO_RUN = "none"
SETTINGS = ("method", "steps", "batch_size", "accumulate", "rank", "seed")  # that a report names


def run_names() -> list[str]:
    """Folders that hold a run, the newest first."""
    root = folders.output_folder() / "fewstep_runs"
    found = [path.parent for path in root.glob("*/config.json") if is_plain(path.parent.name)]
    newest = sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)
    return [path.name for path in newest] or [NO_RUN]


class FewStepRuns:
    TITLE = "FewStep Runs"
    DESCRIPTION = (
        "The training runs on disk: how far each one is. Connect run_name to FewStep Distill to go on with one."
    )
    SEARCH_ALIASES = ["training runs", "resume", "distillation"]
    CATEGORY = "FewStep/training"
    FUNCTION = "look"
    OUTPUT_NODE = True
    RETURN_TYPES = ("STRING", "STRING", "IMAGE")
    RETURN_NAMES = ("run_name", "report", "loss_image")
    OUTPUT_TOOLTIPS = (
        "For FewStep Distill, to go on with it.",
        "How far it is.",
        "Loss and gradient norms so far.",
    )

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"run": choice("A folder of output/fewstep_runs, the newest first.", run_names())}}

    @classmethod
    def IS_CHANGED(cls, run):
        """The time of its metrics, so that the host looks again while it trains."""
        path = folder_of(run).path / "metrics.jsonl"
        return path.stat().st_mtime_ns if path.is_file() else 0

    def look(self, run):
        folder = folder_of(run)
        config, metrics, states = folder.read_config(), folder.metrics(), folder.states()
        require(config is not None, f"{run!r} holds no run. Train one with FewStep Distill, then refresh.")
        require(bool(metrics), f"{run!r} has not finished its first step yet.")
        return run, described(run, config, metrics, states, folder.notes()), report.loss_image(metrics)


def folder_of(run: str) -> RunFolder:
    name = plain_name(run, "run")
    return RunFolder(folders.inside(folders.output_folder() / "fewstep_runs", name, "run"))


def described(run: str, config: dict, metrics: list[dict], states: list, notes: list[str]) -> str:
    losses = [record["loss"] for record in metrics if "loss" in record]
    seconds = sum(record.get("seconds", 0.0) for record in metrics)
    saved = step_of(states[-1]) if states else 0
    known = {key: str(config.get(key, "unknown"))[:60] for key in SETTINGS}
    return "\n".join(
        [
            "{}: {method}, step {} of {steps}".format(run, metrics[-1]["step"], **known),
            f"saved up to step {saved}; {seconds / len(metrics):.2f} s a step",
            *([f"loss {losses[0]:.5f} -> {smooth(losses)[-1]:.5f} (running mean)"] if losses else []),
            "batch {batch_size} x {accumulate}, rank {rank}, seed {seed}".format(**known),
            *notes,
        ]
    )


NODES = (FewStepRuns,)
