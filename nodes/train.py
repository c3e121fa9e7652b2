"""Distillation in the graph: prompts, data, method, and the node that trains."""

from ..host import dataset, distil, folders
from ..training.config import TrainConfig, require
from ..training.methods import lcm
from ..training.terms import ConsistencyOptions
from . import report

PROMPTS, DATA, METHOD = "FEWSTEP_PROMPTS", "FEWSTEP_DATA", "FEWSTEP_METHOD"


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


class FewStepMethodLCM:
    TITLE = "FewStep Method LCM"
    DESCRIPTION = "Latent consistency distillation (Luo et al. 2023): LCM-LoRA's recipe, with its knobs."
    CATEGORY = "FewStep/training"
    FUNCTION = "build"
    RETURN_TYPES = (METHOD,)

    @classmethod
    def INPUT_TYPES(cls):
        guidance = {"default": 8.5, "min": 1.0, "max": 30.0, "step": 0.1}
        return {
            "required": {
                "skip": (
                    "INT",
                    {
                        "default": 20,
                        "min": 1,
                        "max": 1000,
                        "tooltip": "Timesteps between the two points, a multiple of "
                        "1000 / grid. The paper takes 20; short runs learn much faster with 100-250.",
                    },
                ),
                "grid": (
                    "INT",
                    {"default": 50, "min": 1, "max": 1000, "tooltip": "Points of the training grid. LCM: 50."},
                ),
                "solver_steps": (
                    "INT",
                    {
                        "default": 1,
                        "min": 1,
                        "max": 50,
                        "tooltip": "DDIM steps of the teacher per skip: 1 in the paper, 2 or more for long skips.",
                    },
                ),
                "guidance_min": (
                    "FLOAT",
                    {**guidance, "tooltip": "Usual cfg baked into the student; LCM-LoRA: 8.5 (its w + 1)."},
                ),
                "guidance_max": ("FLOAT", {**guidance, "tooltip": "Drawn between min and max for each sample."}),
                "loss": (["huber", "l2"], {"tooltip": "Distance between the two predictions."}),
                "huber_c": ("FLOAT", {"default": 0.001, "min": 1e-6, "max": 10.0, "step": 1e-6, "round": 1e-6}),
                "target": (
                    ["student", "ema"],
                    {"tooltip": "student: stop-gradient (LCM-LoRA). ema: LCM; needs ema_decay."},
                ),
                "boundary": ("BOOLEAN", {"default": True, "tooltip": "c_skip and c_out of the paper."}),
            },
            "optional": {  # added later: graphs saved before have no value for it
                "solver": (
                    ["ddim", "dpmsolver", "dpmsolver++"],
                    {"tooltip": "The teacher's ODE solver. The second-order ones ask it twice per step."},
                ),
            },
        }

    def build(self, **options):
        return (lcm(ConsistencyOptions(**options)),)


class FewStepDistill:
    TITLE = "FewStep Distill"
    DESCRIPTION = (
        "Trains a few-step LoRA of the model in front of it. The model itself is not changed. Cancel any time: the run "
        "is saved and goes on when it is queued again under the same name."
    )
    CATEGORY = "FewStep/training"
    FUNCTION = "distil"
    OUTPUT_NODE = True
    RETURN_TYPES = ("MODEL", "STRING", "IMAGE", "STRING", "LORA_MODEL", "LOSS_MAP")
    RETURN_NAMES = ("model", "lora_name", "loss_picture", "report", "lora", "loss_map")

    @classmethod
    def INPUT_TYPES(cls):
        every = {"min": 1, "max": 1000000}
        return {
            "required": {
                "model": ("MODEL", {"tooltip": "The teacher. LoRAs on it are taught along."}),
                "clip": ("CLIP",),
                "data": (DATA,),
                "method": (METHOD,),
                "run_name": (
                    "STRING",
                    {"default": "my-lcm-lora", "tooltip": "Names the run folder and the LoRA file."},
                ),
                "steps": ("INT", {"default": 1000, "min": 1, "max": 10000000, "tooltip": "LCM-LoRA: 1,000-6,000."}),
                "batch_size": ("INT", {"default": 12, "min": 1, "max": 4096, "tooltip": "LCM-LoRA: 12 per GPU."}),
                "accumulate": ("INT", {"default": 1, "min": 1, "max": 1024, "tooltip": "Micro-batches per step."}),
                "learning_rate": (
                    "FLOAT",
                    {"default": 1e-4, "min": 1e-7, "max": 1.0, "step": 1e-6, "round": 1e-8, "tooltip": "1e-4"},
                ),
                "warmup": ("INT", {"default": 0, "min": 0, "max": 100000, "tooltip": "Steps of linear warm-up."}),
                "decay": (["constant", "cosine"],),
                "rank": ("INT", {"default": 64, "min": 1, "max": 1024, "tooltip": "LCM-LoRA: 64."}),
                "alpha": (
                    "FLOAT",
                    {"default": 64.0, "min": 0.01, "max": 1024.0, "step": 0.01, "tooltip": "As the rank."},
                ),
                "ema_decay": (
                    "FLOAT",
                    {
                        "default": 0.0,
                        "min": 0.0,
                        "max": 0.99999,
                        "step": 0.0001,
                        "round": 1e-6,
                        "tooltip": "0: the student itself. 0.95-0.999: its moving average is kept.",
                    },
                ),
                "precision": (["fp32", "bf16", "fp16"], {"tooltip": "bf16 on recent GPUs, fp32 on a CPU."}),
                "gradient_checkpointing": (
                    "BOOLEAN",
                    {"default": False, "tooltip": "Half the memory, a third slower."},
                ),
                "seed": ("INT", {"default": 0, "min": 0, "max": 2**53}),
                "preview_prompts": ("STRING", {"multiline": True, "default": "", "tooltip": "One per line, up to 8."}),
                "preview_every": ("INT", {"default": 100, **every}),
                "save_every": ("INT", {"default": 250, **every}),
                "keep_last": ("INT", {"default": 2, "min": 1, "max": 100, "tooltip": "Saved states to keep."}),
                "resume": (
                    "BOOLEAN",
                    {"default": True, "tooltip": "Go on with a run of this name. Off: refuse when it exists already."},
                ),
            },
            "optional": {
                "vae": ("VAE", {"tooltip": "For previews, and for data from pictures."}),
                "start_lora": (
                    ["none", *folders.names("loras")],
                    {"tooltip": "Start from this LoRA instead of from the model: a second run under other settings."},
                ),
                "keep": (
                    ["last", "best"],
                    {
                        "tooltip": "best: the saved weights whose steps end nearest to the teacher's, from noise in no "
                        "batch. Not for SwiftBrush and DMD, which leave the teacher's trajectories."
                    },
                ),
                "start_file": (
                    "STRING",
                    {"forceInput": True, "tooltip": "The lora_name of another FewStep Distill, instead of start_lora."},
                ),
            },
        }

    def distil(
        self,
        model,
        clip,
        data,
        method,
        run_name,
        preview_prompts,
        resume,
        vae=None,
        start_lora="none",
        start_file="",
        **settings,
    ):
        config = TrainConfig(**settings)
        check_run(run_name, method, config, resume)
        prompts = [line.strip() for line in preview_prompts.splitlines() if line.strip()][:8]
        start = start_file or ("" if start_lora == "none" else start_lora)
        result = distil.distil(distil.Job(model, clip, vae, data, method, config, run_name.strip(), prompts, start))
        losses = [record["loss"] for record in result.metrics if "loss" in record]
        text = report.summary(result, method, config)
        student = distil.student_model(model, result.tensors)
        return (student, result.name, report.loss_picture(result.metrics), text, result.tensors, {"loss": losses})


def check_run(run_name: str, method, config: TrainConfig, resume: bool) -> None:
    """Refuse before anything is allocated."""
    require(bool(run_name.strip(". ")), "FewStepDistill: run_name is empty. It names the run folder and the LoRA file.")
    folder = folders.inside(folders.output_folder() / "fewstep_runs", run_name.strip(), "FewStepDistill: run_name")
    require(
        resume or not (folder / "config.json").exists(),
        f"FewStepDistill: a run named {run_name!r} exists. Turn resume on to go on with it, or choose another name.",
    )
    require(
        not method.averages or config.ema_decay > 0,
        "FewStepDistill: the method's target is ema, but ema_decay is 0. Set it to 0.95-0.999.",
    )


NODES = (FewStepPrompts, FewStepDataset, FewStepMethodLCM, FewStepDistill)
