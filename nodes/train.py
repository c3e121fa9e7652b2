"""The node that trains."""

from ..host import folders
from ..host.loading.sampler import attach
from ..host.model_copy import precision_for
from ..host.progress import held_back
from ..host.training import check, export, run, run_folder, separate
from ..host.training.job import Job
from ..training.checks import choices, require
from ..training.config import TrainConfig
from ..training.prompts import typed_prompts
from . import report
from .data import DATA
from .methods import METHOD
from .widgets import AUTO, choice, link, number, of, socket, text, whole, yes_no

ADVANCED = {"advanced": True}
# Not `seed`: pages would give that a control that changes it after each run, and a changed run cannot go on.
SEED = whole(
    2**53, "Of the order of the data, all noise, and where the LoRA starts. Same seed, same run.", 0, default=0
)
HERE, APART, FOLDER = "in this process", "separate process", "run folder only"
BASIC = {
    "steps": whole(10000000, "Optimizer steps. LCM-LoRA: 1,000-6,000."),
    "batch_size": whole(4096, "Samples in a micro-batch. LCM-LoRA: 12 per GPU."),
    "learning_rate": number((0.0, 1.0, 1e-6), "Of AdamW. 0: the method's own.", round=1e-9),
    "rank": whole(1024, "Size of the LoRA. 0: the method's own, 64 for most.", 0),
    "ema_decay": number((0.0, 0.99999, 0.0001), "Above 0 the moving average is kept: 0.95-0.999.", round=1e-6),
    "preview_every": whole(1000000, "Steps between previews."),
    "save_every": whole(1000000, "Steps between saved states."),
    "train": choice(
        "lora, or full: every weight, in diffusion_models/fewstep. SwiftBrush's and DMD's critic stays a LoRA, unless "
        "it is named. Full weights want a learning_rate of 1e-6 to 1e-5."
    ),
}
OTHERS = {
    "accumulate": whole(1024, "Micro-batches in a step: large batches in little memory.", **ADVANCED),
    "warmup": whole(100000, "Steps of linear rise of the learning rate.", 0, **ADVANCED),
    "decay": choice("cosine: the learning rate falls to 0 at steps.", **ADVANCED),
    "alpha": number((0.0, 2048.0, 0.01), "The LoRA's scale is alpha / rank. 0: the method's own.", **ADVANCED),
    "gradient_checkpointing": yes_no("About half the memory, a third slower.", **ADVANCED),
    "keep_last": whole(100, "Saved states to keep.", **ADVANCED),
    "keep": choice(
        "best: the saved weights whose steps end nearest to the teacher's, from noise in no batch. Not for SwiftBrush "
        "and DMD, which leave the teacher's trajectories.",
        **ADVANCED,
    ),
    "optimizer": choice("adamw8bit: moments in a quarter of the memory, with the package bitsandbytes.", **ADVANCED),
    "layers": text(
        "What gets a LoRA: all, attention, feed-forward, convolutions, or parts of diffusers' names (to_q, to_v), by "
        "commas. Empty: the method's own.",
        **ADVANCED,
    ),
    "lora_over": choice(
        "For a model with LoRAs on it. patched model: a speed LoRA to be used beside them. plain base: one LoRA that "
        "holds them too. plain base by SVD: also what is no LoRA, nearly.",
        **ADVANCED,
    ),
}


class FewStepDistill:
    TITLE = "FewStep Distill"
    DESCRIPTION = (
        "Trains a few-step LoRA, or a whole few-step model, of the model in front of it, which is not changed itself. "
        "Cancel any time: the run is saved and goes on when it is queued again under the same name. Loss, time left "
        "and pictures are shown while it runs."
    )
    SEARCH_ALIASES = [
        "train",
        "training",
        "distillation",
        "lcm",
        "tcd",
        "hyper-sd",
        "dmd",
        "swiftbrush",
        "consistency",
        "train lora",
    ]
    CATEGORY = "FewStep/training"
    FUNCTION = "distil"
    OUTPUT_NODE = True
    WRITES_MODELS = True
    RETURN_TYPES = ("MODEL", "STRING", "IMAGE", "STRING", "LORA_MODEL", "LOSS_MAP")
    RETURN_NAMES = ("model", "lora_name", "loss_image", "report", "lora", "loss_map")
    OUTPUT_TOOLTIPS = (
        "The model with the student on it.",
        "The name that the loaders list it by.",
        "Loss and gradient norms.",
        "Steps, loss, time, and how to sample it.",
        "For the stock LoRA nodes; empty for a full student.",
        "For the stock loss graph.",
    )

    @classmethod
    def INPUT_TYPES(cls):
        half = "Of the forward pass; LoRA weights stay fp32. auto: fp32 without CUDA, else as the model: fp16 or bf16."
        start = "The student starts from it, not from the model. Its rank may not exceed rank."
        back = (
            "-1: go on from the newest saved step. Else from this saved one, 0 from the start; what came later is kept "
            "in the run's set-aside folder. Set it back to -1 afterwards."
        )
        again = "Go on with a run of this name. Off: refuse when there is one."
        stop = "On: cancel also writes the student's file as it is then, to be used at once."
        place = (
            "separate process: leaves the host free to sample; queue again when it is done, for the student. Cancel, "
            "while no graph runs, stops and saves it. run folder only: checks the inputs and writes the run folder "
            "with the graph in it, which `run.py train FOLDER` trains on any machine, on one or many GPUs."
        )
        board = "Also writes TensorBoard's scalars, in the run folder. Needs the package tensorboard."
        config = TrainConfig()
        return {
            "required": {
                "model": socket("MODEL", "The teacher. LoRAs on it are taught along."),
                "clip": socket("CLIP", "Encodes the prompts."),
                "data": socket(DATA, "From FewStep Dataset or FewStep Data From Host."),
                "method": socket(METHOD, "From one of the FewStep Method nodes."),
                "run_name": text("Names the run folder and the file of the LoRA.", default="my-lcm-lora"),
            },
            "optional": {
                **of(config, **BASIC),
                "training_seed": SEED,
                "vae": socket("VAE", "For previews, and for data from images."),
                "preview_prompts": text("One per line, up to 8.", multiline=True, default=""),
                "start_lora": choice(start, ["none", *folders.names("loras")]),
                "start_file": link("The lora_name of another FewStep Distill, instead of start_lora."),
                "start_model": socket("MODEL", "For train full: the weights it starts from (a turbo model, an LCM)."),
                "precision": choice(half, [AUTO, *choices(TrainConfig, "precision")], default=AUTO, advanced=True),
                **of(config, **OTHERS),
                "resume": yes_no(again, default=True, advanced=True),
                "resume_step": whole(10000000, back, -1, default=-1, advanced=True),
                "write_on_cancel": yes_no(stop, default=False, advanced=True),
                "tensorboard": yes_no(board, default=False, advanced=True),
                "where": choice(place, [HERE, APART, FOLDER], default=HERE, advanced=True),
            },
            "hidden": {"prompt": "PROMPT", "unique_id": "UNIQUE_ID"},
        }

    @classmethod
    def IS_CHANGED(cls, where=HERE, **_):
        """Always, where the run folder changes while the inputs do not."""
        return "" if where == HERE else float("nan")  # a new one: hosts compare lists, where the same nan is equal

    def distil(self, where=HERE, prompt=None, unique_id=None, **inputs):
        job = job_of(**inputs)
        if where == FOLDER or (where == APART and not separate.ready(job)):
            return later(job, prompt, unique_id, inputs, train=where == APART)
        result = run.distil(job)
        losses = [record["loss"] for record in result.metrics if "loss" in record]
        text = report.summary(result, job.method, job.config)
        lora = result.tensors if job.trains_lora else {}
        student = attach(export.student_model(job, result.tensors), export.settings(job))
        return (student, result.name, report.loss_image(result.metrics), text, lora, {"loss": losses})


def job_of(
    model,
    clip,
    data,
    method,
    run_name,
    training_seed=0,
    vae=None,
    preview_prompts="",
    precision=AUTO,
    resume=True,
    resume_step=-1,
    write_on_cancel=False,
    tensorboard=False,
    start_lora="none",
    start_file="",
    start_model=None,
    **settings,
):
    precision = precision_for(model) if precision == AUTO else precision
    config = TrainConfig(seed=training_seed, precision=precision, **settings)
    prompts = list(typed_prompts(preview_prompts, "preview_prompts"))[:8]
    start = start_file or ("" if start_lora == "none" else start_lora)
    goes_on = {"resume": resume, "resume_step": resume_step}
    leaves = {"write_on_cancel": write_on_cancel, "tensorboard": tensorboard}
    return Job(
        model, clip, vae, data, method, config, run_name.strip(), prompts, start, start_model, **goes_on, **leaves
    )


def later(job: Job, graph: dict, key: str, inputs: dict, train: bool) -> tuple:
    """The outputs of a run that is only written down, or trained in a process of its own: what needs the student waits
    for it."""
    running = separate.of(job) if train else None
    lines = [running.words()] if running else written(job, graph, key, inputs)
    if train and not running:
        lines = [separate.start(job).words(), *lines[2:]]
    loss, text = held_back(report.loss_image(job.folder.metrics())), "\n".join(lines)
    return (held_back(job.model), export.name_of(job), loss, text, held_back({}), held_back({"loss": []}))


def written(job: Job, graph: dict, key: str, inputs: dict) -> list[str]:
    """The run folder with its graph; what to do with it, in lines."""
    require(
        job.resume_step < 0,
        "resume_step is for a run in this process. Go back there, cancel, and take where as it was.",
    )
    need = check.check(job)
    told = {name: value for name, value in inputs.items() if isinstance(value, str | int | float)}
    file = run_folder.write(job, graph, key, {**told, "where": HERE, "resume": True, "resume_step": -1})
    return [
        f"{job.run_name} is written to {file.parent.parent.name}/{file.parent.name}. Nothing is trained yet.",
        "Train it by `python run.py train FOLDER`, here or where a copy of the folder and the same models are.",
        f"expected: {need.text()}",
    ]


NODES = (FewStepDistill,)
