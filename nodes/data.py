"""What a run trains on: prompts, pictures with captions, latents that the teacher draws, or the host's own."""

from ..host import folders
from ..host.data import dataset, from_host, images
from ..training.checks import require
from ..training.prompts import PromptFile, Prompts, typed_prompts

PROMPTS, DATA = "FEWSTEP_PROMPTS", "FEWSTEP_DATA"
SIZE = {"min": 64, "max": 4096, "step": 8}
TEACHER_STEPS = ("INT", {"default": 12, "min": 1, "max": 100, "tooltip": "DPM++ 2M steps (even in flow models)."})
CFG = {"default": 7.5, "min": 1.0, "max": 30.0, "step": 0.1, "tooltip": "As you sample the base."}


class FewStepPrompts:
    TITLE = "FewStep Prompts"
    DESCRIPTION = (
        "Prompts to distil on: typed here, from a text file or a column of a table in the input folder, or both. "
        "A file may have millions of lines."
    )
    CATEGORY = "FewStep/training"
    FUNCTION = "build"
    RETURN_TYPES = (PROMPTS, "INT")
    RETURN_NAMES = ("prompts", "count")

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "text": ("STRING", {"multiline": True, "default": "", "tooltip": "One prompt per line."}),
                "file": (
                    ["none", *folders.prompt_files()],
                    {"tooltip": "A .txt, .csv or .tsv file in the host's input folder."},
                ),
            },
            "optional": {
                "column": (
                    "STRING",
                    {"default": "", "tooltip": "Of a .csv or .tsv. Empty: the one named prompt, caption or text."},
                ),
            },
        }

    @classmethod
    def IS_CHANGED(cls, text, file, column=""):
        """The file's time, so that the host reads an edited file again."""
        path = folders.prompt_files().get(file)
        return path.stat().st_mtime_ns if path else 0

    def build(self, text, file, column=""):
        typed = typed_prompts(text, "FewStepPrompts: text")
        prompts = Prompts(typed, *(() if file == "none" else [prompt_file(file, column)]))
        require(
            bool(prompts), "FewStepPrompts: there is no prompt. Write one per line, or choose a file that has some."
        )
        return (prompts, len(prompts))


def prompt_file(file: str, column: str) -> PromptFile:
    path = folders.prompt_files().get(file)
    require(path is not None, f"FewStepPrompts: {file[:80]!r} is not in the input folder any more. Refresh the list.")
    return PromptFile(path, column)


class FewStepDataset:
    TITLE = "FewStep Dataset"
    DESCRIPTION = (
        "What to distil on: a folder of pictures with captions (name.txt beside name.png) or of webdataset shards, or "
        "no pictures at all: the teacher draws them from the prompts."
    )
    CATEGORY = "FewStep/training"
    FUNCTION = "build"
    RETURN_TYPES = (DATA,)

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "folder": (
                    "STRING",
                    {
                        "default": "",
                        "tooltip": "A folder (or one .tar) inside the input folder. Empty: the teacher draws.",
                    },
                ),
                "width": ("INT", {"default": 512, **SIZE, "tooltip": "Pixels: 512 for SD1.5, 1024 for SDXL, 96 tiny."}),
                "height": ("INT", {"default": 512, **SIZE}),
                "count": (
                    "INT",
                    {"default": 1000, "min": 1, "max": 1000000, "tooltip": "Pictures the teacher draws."},
                ),
                "teacher_steps": TEACHER_STEPS,
                "teacher_cfg": ("FLOAT", CFG),
            },
            "optional": {
                "prompts": (PROMPTS, {"tooltip": "Needed when the teacher draws."}),
                "buckets": (
                    "INT",
                    {
                        "default": 0,
                        "min": 0,
                        "max": 256,
                        "step": 8,
                        "tooltip": "0: every picture is cropped to width x height. 64 (or 8-256): pictures keep about "
                        "their shape, in sizes of that area whose sides are multiples of it.",
                    },
                ),
                "text_cache": (
                    "INT",
                    {
                        "default": 2000,
                        "min": 1,
                        "max": 1000000,
                        "tooltip": "Megabytes of memory for encoded prompts; more are encoded while training.",
                    },
                ),
            },
        }

    @classmethod
    def IS_CHANGED(cls, folder, **_):
        """The folder's files, so that the host looks at changed pictures again."""
        path = folders.readable((folder or "").strip(), "FewStepDataset: folder")
        return images.stamp_of(path) if folder and path.exists() else ""

    def build(self, folder, width, height, count, teacher_steps, teacher_cfg, prompts=(), buckets=0, text_cache=2000):
        require(width % 8 == 0 and height % 8 == 0, f"FewStepDataset: {width}x{height} is no multiple of 8 pixels.")
        require(buckets % 8 == 0, f"FewStepDataset: buckets is {buckets}, which is no multiple of 8 pixels.")
        sizes = (width, height)
        teacher = (teacher_steps, teacher_cfg)
        if folder.strip():
            path = folders.readable(folder.strip(), "FewStepDataset: folder")
            source = images.open_source(path)
            found = (images.stamp_of(path), path.name, buckets, text_cache)
            return (dataset.DataSpec((), source, *sizes, len(source.captions), *teacher, *found),)
        require(bool(prompts), "FewStepDataset: without a folder it needs prompts. Connect FewStepPrompts.")
        return (dataset.DataSpec(prompts, None, *sizes, count, *teacher, text_cache=text_cache),)


class FewStepDataFromHost:
    TITLE = "FewStep Data From Host"
    DESCRIPTION = (
        "The host's own latents and conditionings as data: batches or lists, from VAE Encode and CLIP Text Encode or "
        "from its training nodes. Latents of several shapes are trained in batches of one shape each."
    )
    CATEGORY = "FewStep/training"
    FUNCTION = "build"
    INPUT_IS_LIST = True
    RETURN_TYPES = (DATA,)

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "conditioning": ("CONDITIONING", {"tooltip": "One for all latents, or one for each."}),
                "width": ("INT", {"default": 512, **SIZE, "tooltip": "Pixels, for previews and without latents."}),
                "height": ("INT", {"default": 512, **SIZE}),
                "teacher_steps": TEACHER_STEPS,
                "teacher_cfg": ("FLOAT", CFG),
            },
            "optional": {
                "latents": ("LATENT", {"tooltip": "Not needed by methods that train on prompts alone."}),
            },
        }

    def build(self, conditioning, width, height, teacher_steps, teacher_cfg, latents=None):
        size = (width[0], height[0])
        require(
            size[0] % 8 == 0 and size[1] % 8 == 0,
            f"FewStepDataFromHost: {size[0]}x{size[1]} is no multiple of 8 pixels.",
        )
        data = from_host.read(latents, conditioning)
        return (dataset.DataSpec((), None, *size, len(data), teacher_steps[0], teacher_cfg[0], host_data=data),)


NODES = (FewStepPrompts, FewStepDataset, FewStepDataFromHost)
