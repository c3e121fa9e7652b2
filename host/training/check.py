"""Every refusal before anything is drawn, copied or allocated."""

import logging
from dataclasses import asdict

import torch

from ...training import optimizers
from ...training.checks import require
from ...training.config import check_resume
from .. import architectures, conditioning, folders, model_copy, names
from ..loading import loras, merging
from ..sockets import Model
from . import export, layers, memory, patches, tensorboard
from .job import NODE, Job
from .memory import Need, size

MARGIN = 1.2  # a clear case: this many times what is free
log = logging.getLogger(__name__)


def check(job: Job) -> Need:
    """Refuse what cannot work, and say what to do; else what the run will need."""
    name(job)
    sockets(job)
    if job.tensorboard:
        tensorboard.check()
    network(job)
    patches.check(job)
    student(job)
    if job.start:
        start(job)
    resumed(job)
    export.target(job)
    need = memory.of(job)
    log.info("%s: %s", job.run_name, need.text().replace("\n", "; "))
    fits(job, need)
    return need


def name(job: Job) -> None:
    """Refuse a run's name that is no file's, or that is another run's when it shall not go on."""
    names.plain_name(job.run_name, f"{NODE}: run_name")
    require(
        job.resume or job.folder.read_config() is None,
        f"{NODE}: a run named {job.run_name!r} exists. Turn resume on to go on with it, or choose another name.",
    )


def sockets(job: Job) -> None:
    """Refuse a run without the inputs or the average that it needs, or with a start that is not there."""
    require(job.clip is not None, f"{NODE}: no text encoder came with the model. Connect a CLIP loader.")
    require(
        job.vae is not None or not job.method.on_images,
        f"{NODE}: rewards and masks look at pictures. Connect the vae input.",
    )
    require(
        not job.method.averages or job.config.ema_decay > 0,
        f"{NODE}: the method's target is ema, but ema_decay is 0. Set it to 0.95-0.999.",
    )
    require(
        not job.start or folders.full_path("loras", job.start) is not None,
        f'{NODE}: start_lora "{job.start}" is in no loras folder. Refresh the list, or take "none".',
    )


def network(job: Job) -> None:
    """Refuse a MODEL of no family that can be trained, another's text encoder, and layers or an optimizer that are
    not."""
    other = architectures.other_class(job.model)
    require(
        not other,
        f"{NODE}: the model is a {other}, which the host samples with more than a text: pictures, poses, sound or its "
        "own earlier frames. A training has texts alone. Load the text-to-video model.",
    )
    require(
        can_be_trained(job.model),
        f"{NODE}: the model is none of the kinds it can train: {', '.join(architectures.trained())}. Load one of "
        "these.",
    )
    row, spec = architectures.of(job.model), job.spec
    require(
        not any(side % row.latents.pixels for side in (spec.width, spec.height, spec.buckets)),
        f"{NODE}: the data's sides are {spec.width} and {spec.height} pixels. {row.base} wants multiples of "
        f"{row.latents.pixels}.",
    )
    if row.texts[1:]:
        conditioning.require_texts(row, conditioning.encode_text(job.clip, ""))
    if not job.trains_lora:
        model_copy.refuse_quantised(job.model.model.diffusion_model, NODE)
    for role in job.roles:
        layers.chosen(job.model, job.training(role).layers)
    optimizers.check(job.config.optimizer)


def can_be_trained(model: Model) -> bool:
    """Whether the MODEL is of a family with a network of a known kind, over that family's latents."""
    return architectures.is_trained(model) and bool(layers.lora_targets(model))


def student(job: Job) -> None:
    """Refuse a start or a guidance embedding that this kind of student cannot have."""
    full = not job.trains_lora
    require(
        full or job.start_model is None,
        f"{NODE}: start_model is for full-weight students. Set train to full, or start from a LoRA (start_lora).",
    )
    require(
        full or not job.method.embeds_guidance,
        f"{NODE}: no LoRA can carry the method's guidance_embedding. Set train to full, or turn it off.",
    )
    row = architectures.of(job.model)
    require(
        not job.method.embeds_guidance or bool(row.network.guidance_layer),
        f"{NODE}: {row.base} has no place for the method's guidance_embedding. Turn it off.",
    )
    require(
        not full or row.network.full_weights,
        f"{NODE}: train full is for {', '.join(architectures.trained(full_weights=True))}. {row.base} trains as a "
        "LoRA: set train to lora.",
    )
    if job.start_model is not None:
        model_copy.refuse_quantised(job.start_model.model.diffusion_model, f"{NODE}: start_model")
        merging.check_alike(job.model, job.start_model, NODE)
        require(
            speak_alike(job.model, job.start_model),
            f"{NODE}: start_model and model predict different things (eps, v, x0) or have other noise levels. Start "
            "from a model of the same kind.",
        )


def speak_alike(a: Model, b: Model) -> bool:
    """Whether the same output of the network means the same image in both MODELs; one may lie on the GPU already."""
    x, output = torch.linspace(-1, 1, 8).view(1, 1, 2, 4), torch.linspace(2, -1, 8).view(1, 1, 2, 4)
    samplings = [model.get_model_object("model_sampling") for model in (a, b)]
    tops = [s.sigma_max.float().cpu().view(1) for s in samplings]
    meant = [s.calculate_denoised(top, output, x).float() for s, top in zip(samplings, tops)]
    return torch.allclose(tops[0], tops[1], rtol=1e-3) and torch.allclose(*meant, rtol=1e-3, atol=1e-3)


def start(job: Job) -> None:
    """Refuse a LoRA that the student cannot begin as."""
    tensors, metadata = loras.read(job.start, NODE)
    if job.start_model is None:
        patches.check_start(job, metadata)
    if job.trains_lora:
        layers.check_start(job.model, job.training("student").layers, tensors, job.start)
        return
    model = job.start_model or job.model
    share = loras.match(model, None, tensors).share
    require(share >= 0.9, f'{NODE}: only {share:.0%} of "{job.start}" fits the model. Start from a LoRA of this model.')
    loras.check_shapes(model, tensors)


def resumed(job: Job) -> None:
    """Refuse to go on with a run under settings that would make it another one; those that may change are logged."""
    before = job.folder.read_config()
    if before is not None:
        now = {**job.source, **job.method.recipe(), **asdict(job.config)}
        changed = check_resume(before, now, f"{NODE}: the run {job.run_name!r}")
        if changed:
            log.info("%s: goes on with other settings: %s", job.run_name, ", ".join(changed))


def fits(job: Job, need: Need) -> None:
    """Refuse a run that clearly cannot fit into memory or onto the disk, and say what to lower."""
    if need.memory > MARGIN * need.free:
        raise ValueError(
            f"{NODE}: the run needs about {size(need.memory)} of memory ({', '.join(largest(need))}), and "
            f"{size(need.free)} are free. {' '.join(remedies(job, need))}"
        )
    if need.states > need.free_disk:
        raise ValueError(
            f"{NODE}: the saved states need {size(need.states)} of disk ({job.config.keep_last} and the one being "
            f"written), and {size(need.free_disk)} are free at {job.folder.path}. Lower keep_last or rank, or free "
            "some disk."
        )


def largest(need: Need) -> list[str]:
    """The three largest parts in words."""
    ordered = sorted(need.parts.items(), key=lambda part: -part[1])[:3]
    return [f"{name} {size(count)}" for name, count in ordered]


def remedies(job: Job, need: Need) -> list[str]:
    """What would help, the cheapest first."""
    config, advice = job.config, []
    moving = need.parts["activations"] + need.parts["passes without gradient"]
    fixed = sum(need.parts.values()) - moving
    fitting = int((need.free - fixed) / max(moving, 1) * config.batch_size)
    if 1 <= fitting < config.batch_size:
        advice.append(f"Lower batch_size to {fitting} (and raise accumulate to {-(-config.batch_size // fitting)}).")
    elif config.batch_size > 1 and moving > 0.2 * need.memory:
        advice.append("Lower batch_size to 1.")
    if not config.gradient_checkpointing and moving > 0.2 * need.memory:
        advice.append("Turn gradient_checkpointing on.")
    if config.precision == "fp32":
        advice.append("Take bf16.")
    if not job.trains_lora:
        advice.append("Train a LoRA instead of the whole model.")
    elif need.parts["roles"] + need.parts["moments"] > 0.2 * need.memory:
        advice.append("Lower rank, or train fewer layers.")
    if config.optimizer == "adamw" and need.parts["moments"] > 0.1 * need.memory:
        advice.append("Take adamw8bit.")
    return [*advice, "Or take smaller pictures, or close what else uses the memory."]
