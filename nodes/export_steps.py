"""Saved steps of a run as LoRAs."""

from ..host.training import saved_steps
from .runs import folder_of, run_names
from .widgets import choice, text


class FewStepExportSteps:
    TITLE = "FewStep Export Steps"
    DESCRIPTION = (
        "Saved steps of a training run as LoRAs, listed at once: to sample a run that was cancelled, or that another "
        "host still trains. The run itself is not touched."
    )
    SEARCH_ALIASES = ["stop and use", "checkpoint", "export lora", "training runs", "saved step", "distillation"]
    CATEGORY = "FewStep/training"
    FUNCTION = "export"
    OUTPUT_NODE = True
    WRITES_MODELS = True
    RETURN_TYPES = ("STRING", "STRING", "STRING")
    RETURN_NAMES = ("lora_name", "lora_names", "report")
    OUTPUT_TOOLTIPS = (
        "The last one, for lora_file of FewStep Load LoRA.",
        "All, one a line, for loras of FewStep Compare.",
        "What was written.",
    )

    @classmethod
    def INPUT_TYPES(cls):
        words = "Saved steps by commas; newest, all (up to 16), or best, where the run keeps it."
        return {
            "required": {
                "run": choice("A folder of output/fewstep_runs, the newest first.", run_names()),
                "steps": text(words, default=saved_steps.NEWEST),
            }
        }

    @classmethod
    def IS_CHANGED(cls, run, steps):
        """The time of its newest state, so that the host looks again while it trains."""
        return max((file.stat().st_mtime_ns for file in folder_of(run).path.glob("*.safetensors")), default=0)

    def export(self, run, steps):
        written = saved_steps.write(folder_of(run), steps)
        return written[-1], "\n".join(written), "\n".join([f"{len(written)} written to loras:", *written])


NODES = (FewStepExportSteps,)
