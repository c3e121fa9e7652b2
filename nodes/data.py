"""What a run trains on: prompts, pictures with captions, or latents that the teacher draws."""

from ..host import dataset, folders
from ..training.config import require

PROMPTS, DATA = "FEWSTEP_PROMPTS", "FEWSTEP_DATA"


class FewStepPrompts:
    TITLE = "FewStep Prompts"
    DESCRIPTION = "Prompts to distil on, one per line: typed here, from a text file in the input folder, or both."
    CATEGORY = "FewStep/training"
    FUNCTION = "build"
    RETURN_TYPES = (PROMPTS, "INT")
    RETURN_NAMES = ("prompts", "count")

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "text": ("STRING", {"multiline": True, "default": "", "tooltip": "One prompt per line."}),
                "file": (["none", *folders.prompt_files()], {"tooltip": "A .txt file in the host's input folder."}),
            }
        }

    @classmethod
    def IS_CHANGED(cls, text, file):
        """The file's time, so that the host reads an edited file again."""
        path = folders.prompt_files().get(file)
        return path.stat().st_mtime_ns if path else 0

    def build(self, text, file):
        lines = text.splitlines()
        if file != "none":
            lines += read_prompts(file)
        prompts = tuple(line.strip() for line in lines if line.strip())
        require(
            bool(prompts), "FewStepPrompts: there is no prompt. Write one per line, or choose a file that has some."
        )
        return (prompts, len(prompts))


def read_prompts(file: str) -> list[str]:
    path = folders.prompt_files().get(file)
    require(path is not None, f"FewStepPrompts: {file!r} is not in the input folder any more. Refresh the list.")
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"FewStepPrompts: {file} is not UTF-8 text ({error}). Save it as UTF-8.") from error


class FewStepDataset:
    TITLE = "FewStep Dataset"
    DESCRIPTION = (
        "What to distil on: a folder of pictures with captions (name.txt beside name.png), or no pictures at all: "
        "the teacher draws them from the prompts."
    )
    CATEGORY = "FewStep/training"
    FUNCTION = "build"
    RETURN_TYPES = (DATA,)

    @classmethod
    def INPUT_TYPES(cls):
        size = {"min": 64, "max": 4096, "step": 8}
        return {
            "required": {
                "folder": (
                    "STRING",
                    {"default": "", "tooltip": "A folder inside the input folder. Empty: the teacher draws."},
                ),
                "width": ("INT", {"default": 512, **size, "tooltip": "Pixels: 512 for SD1.5, 1024 for SDXL, 96 tiny."}),
                "height": ("INT", {"default": 512, **size}),
                "count": ("INT", {"default": 1000, "min": 1, "max": 1000000, "tooltip": "Pictures the teacher draws."}),
                "teacher_steps": ("INT", {"default": 12, "min": 1, "max": 100, "tooltip": "DPM++ 2M Karras steps."}),
                "teacher_cfg": (
                    "FLOAT",
                    {"default": 7.5, "min": 1.0, "max": 30.0, "step": 0.1, "tooltip": "As you sample the base."},
                ),
            },
            "optional": {"prompts": (PROMPTS, {"tooltip": "Needed when the teacher draws."})},
        }

    @classmethod
    def IS_CHANGED(cls, folder, **_):
        """The folder's files, so that the host looks at changed pictures again."""
        path = folders.inside(folders.input_folder(), (folder or "").strip(), "FewStepDataset: folder")
        return dataset.stamp_of(path) if folder and path.is_dir() else ""

    def build(self, folder, width, height, count, teacher_steps, teacher_cfg, prompts=()):
        require(width % 8 == 0 and height % 8 == 0, f"FewStepDataset: {width}x{height} is no multiple of 8 pixels.")
        path = None
        if folder.strip():
            path = folders.inside(folders.input_folder(), folder.strip(), "FewStepDataset: folder")
            count = len(dataset.read_folder(path))
        else:
            require(bool(prompts), "FewStepDataset: without a folder it needs prompts. Connect FewStepPrompts.")
        used, stamp = (tuple(prompts), "") if path is None else ((), dataset.stamp_of(path))
        spec = dataset.DataSpec(used, path and str(path), width, height, count, teacher_steps, teacher_cfg, stamp)
        return (spec,)


NODES = (FewStepPrompts, FewStepDataset)
