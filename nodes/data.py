"""What a run trains on: prompts, pictures with captions, latents that the teacher draws, or the host's own."""

from ..host import folders
from ..host.data import dataset, from_host, images
from ..training.checks import require
from ..training.prompts import PromptFile, Prompts, typed_prompts
from .widgets import GUIDANCE, choice, number, socket, text, whole

PROMPTS, DATA = "FEWSTEP_PROMPTS", "FEWSTEP_DATA"
EXAMPLES = "red apple, 3d style\nrobot, flat style, on a blue background"  # two that the tiny base knows
WIDTH = whole(4096, "Pixels: 512 for SD1.5, 1024 for SDXL, SD3 and Flux, 96 tiny.", 64, default=512, step=8)
HEIGHT = whole(4096, "Pixels, a multiple of 8.", 64, default=512, step=8)
TEACHER_STEPS = whole(100, "DPM++ 2M steps of the teacher, on Karras' sigmas or a flow model's even times.", default=12)
TEACHER_CFG = number(GUIDANCE, "As you sample the base: 7-7.5 for SD1.5, 2 for the tiny base.", default=7.5)


class FewStepPrompts:
    TITLE = "FewStep Prompts"
    DESCRIPTION = (
        "Prompts to distil on: typed here, from a text file or a column of a table in the input folder, or both. "
        "A file may have millions of lines."
    )
    SEARCH_ALIASES = ["captions", "prompt list", "csv"]
    CATEGORY = "FewStep/training/data"
    FUNCTION = "build"
    RETURN_TYPES = (PROMPTS, "INT")
    RETURN_NAMES = ("prompts", "count")
    OUTPUT_TOOLTIPS = (
        "For FewStep Dataset.",
        "How many there are.",
    )

    @classmethod
    def INPUT_TYPES(cls):
        file = "A UTF-8 .txt (a prompt per line), .csv or .tsv in the host's input folder, or the pack's own list."
        column = "Of a .csv or .tsv. Empty: the one named prompt, caption or text, or the only one."
        return {
            "required": {
                "text": text("One prompt per line; used together with the file.", multiline=True, default=EXAMPLES),
                "file": choice(file, ["none", *folders.prompt_files()], default="none"),
            },
            "optional": {"column": text(column, default="", advanced=True)},
        }

    @classmethod
    def IS_CHANGED(cls, text, file, column=""):
        """The file's time, so that the host reads an edited file again."""
        path = folders.prompt_files().get(file)
        return path.stat().st_mtime_ns if path else 0

    def build(self, text, file, column=""):
        typed = typed_prompts(text, "text")
        prompts = Prompts(typed, *(() if file == "none" else [prompt_file(file, column)]))
        require(bool(prompts), "there is no prompt. Write one per line, or choose a file that has some.")
        return (prompts, len(prompts))


def prompt_file(file: str, column: str) -> PromptFile:
    path = folders.prompt_files().get(file)
    require(path is not None, f"{file[:80]!r} is not in the input folder any more. Refresh the list.")
    return PromptFile(path, column)


class FewStepDataset:
    TITLE = "FewStep Dataset"
    DESCRIPTION = (
        "What to distil on: a folder of pictures with captions (name.txt beside name.png) or of webdataset shards, or "
        "no pictures at all: the teacher draws them from the prompts."
    )
    SEARCH_ALIASES = ["training data", "images and captions", "webdataset", "folder"]
    CATEGORY = "FewStep/training/data"
    FUNCTION = "build"
    RETURN_TYPES = (DATA,)
    OUTPUT_TOOLTIPS = ("For FewStep Distill.",)

    @classmethod
    def INPUT_TYPES(cls):
        folder = "A folder (or one .tar of webdataset) inside the input folder. Empty: the teacher draws."
        count = "Images the teacher draws; prompts are taken in turn. Methods on prompts alone use every prompt."
        buckets = (
            "0: every image is cropped to width x height. 64 (or 8-256): images keep about their shape, in sizes of "
            "that area whose sides are multiples of it."
        )
        cache = "Megabytes of memory for encoded prompts; more are encoded while training."
        return {
            "required": {
                "folder": text(folder, default=""),
                "width": WIDTH,
                "height": HEIGHT,
                "count": whole(1000000, count, default=1000),
                "teacher_steps": TEACHER_STEPS,
                "teacher_cfg": TEACHER_CFG,
            },
            "optional": {
                "prompts": socket(PROMPTS, "Needed when the teacher draws."),
                "buckets": whole(256, buckets, 0, default=0, step=8, advanced=True),
                "text_cache": whole(1000000, cache, default=2000, advanced=True),
            },
        }

    @classmethod
    def IS_CHANGED(cls, folder, **_):
        """The folder's files, so that the host looks at changed pictures again."""
        path = folders.readable((folder or "").strip(), "folder")
        return images.stamp_of(path) if folder and path.exists() else ""

    def build(self, folder, width, height, count, teacher_steps, teacher_cfg, prompts=(), buckets=0, text_cache=2000):
        require(width % 8 == 0 and height % 8 == 0, f"{width}x{height} is no multiple of 8 pixels.")
        require(buckets % 8 == 0, f"buckets is {buckets}, which is no multiple of 8 pixels.")
        sizes = (width, height)
        teacher = (teacher_steps, teacher_cfg)
        if folder.strip():
            path = folders.readable(folder.strip(), "folder")
            source = images.open_source(path)
            found = (images.stamp_of(path), path.name, buckets, text_cache)
            return (dataset.DataSpec((), source, *sizes, len(source.captions), *teacher, *found),)
        require(bool(prompts), "without a folder it needs prompts. Connect FewStep Prompts.")
        return (dataset.DataSpec(prompts, None, *sizes, count, *teacher, text_cache=text_cache),)


class FewStepDataFromHost:
    TITLE = "FewStep Data From Host"
    DESCRIPTION = (
        "The host's own latents and conditionings as data: batches or lists, from VAE Encode and CLIP Text Encode or "
        "from its training nodes. Latents of several shapes are trained in batches of one shape each."
    )
    SEARCH_ALIASES = ["training data", "latents", "conditioning"]
    CATEGORY = "FewStep/training/data"
    FUNCTION = "build"
    INPUT_IS_LIST = True
    RETURN_TYPES = (DATA,)
    OUTPUT_TOOLTIPS = ("For FewStep Distill.",)

    @classmethod
    def INPUT_TYPES(cls):
        latents = "In the model's own VAE. Without them only methods on prompts alone can run."
        return {
            "required": {
                "conditioning": socket("CONDITIONING", "One for all latents, or one for each."),
                "width": WIDTH,
                "height": HEIGHT,
                "teacher_steps": TEACHER_STEPS,
                "teacher_cfg": TEACHER_CFG,
            },
            "optional": {"latents": socket("LATENT", latents)},
        }

    def build(self, conditioning, width, height, teacher_steps, teacher_cfg, latents=None):
        size = (width[0], height[0])
        require(
            size[0] % 8 == 0 and size[1] % 8 == 0,
            f"{size[0]}x{size[1]} is no multiple of 8 pixels.",
        )
        data = from_host.read(latents, conditioning)
        return (dataset.DataSpec((), None, *size, len(data), teacher_steps[0], teacher_cfg[0], host_data=data),)


NODES = (FewStepPrompts, FewStepDataset, FewStepDataFromHost)
