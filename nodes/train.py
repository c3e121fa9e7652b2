"""The node that trains."""

from ..host import folders
from ..host.names import plain_name
from ..host.training import export, run
from ..host.training.job import Job
from ..training.checks import choices, require
from ..training.config import TrainConfig
from ..training.prompts import typed_prompts
from . import report
from .data import DATA
from .methods import METHOD


class FewStepDistill:
    TITLE = "FewStep Distill"
    DESCRIPTION = (
        "Trains a few-step LoRA, or a whole few-step model, of the model in front of it, which is not changed itself. "
        "Cancel any time: the run is saved and goes on when it is queued again under the same name."
    )
    CATEGORY = "FewStep/training"
    FUNCTION = "distil"
    OUTPUT_NODE = True
    RETURN_TYPES = ("MODEL", "STRING", "IMAGE", "STRING", "LORA_MODEL", "LOSS_MAP")
    RETURN_NAMES = ("model", "lora_name", "loss_image", "report", "lora", "loss_map")

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
                "seed": ("INT", {"default": 0, "min": 0, "max": 2**53, "control_after_generate": True}),
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
                "optimizer": (
                    choices(TrainConfig, "optimizer"),
                    {"tooltip": "adamw8bit keeps its moments in a quarter of the memory; needs bitsandbytes."},
                ),
                "layers": (
                    "STRING",
                    {
                        "default": "all",
                        "tooltip": "What gets a LoRA: all, attention, feed-forward, convolutions, or parts of "
                        "diffusers' names (to_q, to_v: SwiftBrush), by commas. Fewer are smaller and learn less.",
                    },
                ),
                "lora_over": (
                    choices(TrainConfig, "lora_over"),
                    {
                        "tooltip": "For a model with LoRAs on it. patched model: a speed LoRA to be used beside them. "
                        "plain base: one LoRA that holds them too. plain base by SVD: also what is no LoRA, nearly."
                    },
                ),
                "train": (
                    choices(TrainConfig, "train"),
                    {
                        "tooltip": "full: the student's every weight, in diffusion_models/fewstep; the critic of "
                        "SwiftBrush and DMD stays a LoRA, unless it is named. Lower learning_rate: 1e-6 to 1e-5."
                    },
                ),
                "start_model": (
                    "MODEL",
                    {"tooltip": "For train full: the student starts from these weights (a turbo model, an LCM)."},
                ),
                "resume_step": (
                    "INT",
                    {
                        "default": -1,
                        "min": -1,
                        "max": 10000000,
                        "tooltip": "-1: go on from the newest saved step. Else from this saved one, 0 from the start; "
                        "what came later is kept in the run's set-aside folder. Set it back to -1 afterwards.",
                    },
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
        start_model=None,
        resume_step=-1,
        **settings,
    ):
        config = TrainConfig(**settings)
        check_run(run_name, method, config, resume)
        prompts = list(typed_prompts(preview_prompts, "FewStepDistill: preview_prompts"))[:8]
        start = start_file or ("" if start_lora == "none" else start_lora)
        job = Job(model, clip, vae, data, method, config, run_name.strip(), prompts, start, start_model, resume_step)
        result = run.distil(job)
        losses = [record["loss"] for record in result.metrics if "loss" in record]
        text = report.summary(result, method, config)
        lora = result.tensors if config.train == "lora" else {}
        student = export.student_model(job, result.tensors)
        return (student, result.name, report.loss_image(result.metrics), text, lora, {"loss": losses})


def check_run(run_name: str, method, config: TrainConfig, resume: bool) -> None:
    """Refuse before anything is allocated."""
    name = plain_name(run_name, "FewStepDistill: run_name")
    folder = folders.inside(folders.output_folder() / "fewstep_runs", name, "FewStepDistill: run_name")
    require(
        resume or not (folder / "config.json").exists(),
        f"FewStepDistill: a run named {run_name!r} exists. Turn resume on to go on with it, or choose another name.",
    )
    require(
        not method.averages or config.ema_decay > 0,
        "FewStepDistill: the method's target is ema, but ema_decay is 0. Set it to 0.95-0.999.",
    )


NODES = (FewStepDistill,)
