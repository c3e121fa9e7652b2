"""The networks of a run by role, and what the student starts from: LoRAs on one copy of the MODEL, or whole copies."""

import copy as copies
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from ...samplers.guidance_embedding import WIDTH, GuidedTimestep
from ...training.checks import require
from ...training.data import Examples, make_batch
from ...training.guidance_embedding import GuidanceEmbedding
from ...training.roles import DISCRIMINATOR, Adapter, LoraRoles, checkpoint_blocks
from ...weights import keys
from .. import model_copy
from ..loading import loras, merging
from . import architectures, layers, patches

NODE = "FewStepDistill"


def check(job) -> None:
    """Refuse a start or a guidance embedding that this kind of student cannot have."""
    full = job.config.train != "lora"
    require(
        full or job.start_model is None,
        f"{NODE}: start_model is for full-weight students. Set train to full, or start from a LoRA (start_lora).",
    )
    require(
        full or not job.method.embeds_guidance,
        f"{NODE}: no LoRA can carry the method's guidance_embedding. Set train to full, or turn it off.",
    )
    require(
        not full or bool(architectures.unet_blocks(job.model.model.diffusion_model)),
        f"{NODE}: train full is for the U-Nets of SD1.5, SD2 and SDXL. SD3 and Flux train as LoRAs: set train to lora.",
    )
    if job.start_model is not None:
        model_copy.refuse_quantised(job.start_model.model.diffusion_model, f"{NODE}: start_model")
        merging.check_alike(job.model, job.start_model, NODE)
        require(
            speak_alike(job.model, job.start_model),
            f"{NODE}: start_model and model predict different things (eps, v, x0) or have other noise levels. Start "
            "from a model of the same kind.",
        )


def speak_alike(a, b) -> bool:
    """Whether the same output of the network means the same picture in both MODELs; one may lie on the GPU already."""
    x, output = torch.linspace(-1, 1, 8).view(1, 1, 2, 4), torch.linspace(2, -1, 8).view(1, 1, 2, 4)
    samplings = [model.get_model_object("model_sampling") for model in (a, b)]
    tops = [s.sigma_max.float().cpu().view(1) for s in samplings]
    meant = [s.calculate_denoised(top, output, x).float() for s, top in zip(samplings, tops)]
    return torch.allclose(tops[0], tops[1], rtol=1e-3) and torch.allclose(*meant, rtol=1e-3, atol=1e-3)


def roles_of(job, copy: model_copy.TrainingCopy, examples: Examples) -> LoraRoles:
    """Every role of the method: LoRAs on the one copy, or networks of their own; the target only with an average."""
    config = job.config
    names = tuple(role for role in job.method.roles if role != "target" or config.ema_decay)
    wholes = {}
    if config.train == "lora":
        roles = LoraRoles(copy.net, copy.denoise, adapters(job, names), config.seed)
        if job.start:
            start_from(job, roles)
    else:
        lone = {DISCRIMINATOR, "critic"} if config.train == "full" else {DISCRIMINATOR}
        wholes = whole_networks(job, copy, [role for role in names if role not in lone])
        loras_of = adapters(job, [role for role in names if role not in wholes])
        roles = LoraRoles(copy.net, copy.denoise, loras_of, config.seed, wholes)
    nets = {role: net for role, (net, _) in wholes.items()}
    if config.gradient_checkpointing:
        checkpoint_blocks(
            roles, [layer for net in (copy.net, *nets.values()) for layer in architectures.repeatable(net)]
        )
    if DISCRIMINATOR in job.method.roles:
        one = make_batch(examples, config.seed, 0, 1, copy.device)
        example = (one.noise, torch.ones(1, device=copy.device), one.cond)
        features = job.method.discriminator_features
        blocks = architectures.features(nets.get(features, copy.net), job.method.discriminator_maps)
        roles.add_discriminator(blocks, example, config.seed, features)
    return roles


def adapters(job, names: Iterable[str]) -> dict[str, Adapter]:
    """{role: its LoRA}, by the method's numbers where the run leaves them open."""
    training = {role: job.training(role) for role in names if role != DISCRIMINATOR}
    targets = {own.layers: tuple(layers.chosen(job.model, own.layers)) for own in training.values()}
    return {role: Adapter(targets[own.layers], own.rank, own.alpha) for role, own in training.items()}


def start_from(job, roles: LoraRoles) -> None:
    """Let the adapters begin as an earlier LoRA instead of as the teacher; the critic still begins as the teacher."""
    tensors, recipe = loras.read(job.start, NODE)
    patches.check_start(job, recipe, job.start)
    own = job.training("student")
    layers.check_start(job.model, own.layers, tensors, job.start)
    names, scale = architectures.lora_names(job.model), own.alpha / own.rank
    for role in (role for role in roles.roles if role != "critic"):
        try:
            found, wanted = keys.import_lora(tensors, roles.parameters(role), names, scale)
        except ValueError as error:
            raise ValueError(f'{NODE}: "{job.start}": {error}') from error
        require(
            found >= 0.9 * wanted,
            f'{NODE}: "{job.start}" has only {found} of the {wanted} modules to train. Start from a LoRA '
            "of this model that covers its convolutions too, or from none.",
        )


def whole_networks(job, copy: model_copy.TrainingCopy, names: list[str]) -> dict[str, tuple[nn.Module, Callable]]:
    """{role: (network in fp32, its denoise)}. The critic begins as the teacher, the others as the student's start."""
    found, embeds = {}, job.method.embeds_guidance
    for role in names:
        if role == "critic":
            found[role] = model_copy.TrainingCopy(job.model, torch.float32, NODE).net
        elif "student" in found:
            found[role] = copies.deepcopy(found["student"])
        else:
            found[role] = model_copy.TrainingCopy(full_start(job), torch.float32, NODE).net
            projection = take_guidance(found[role], baked=not embeds)
    runs = {role: copy.running(net) for role, net in found.items()}
    for role in (role for role in found if embeds and role != "critic"):
        runs[role] = embed_guidance(found[role], runs[role], job.guidance - 1, projection)
    return {role: (net, runs[role]) for role, net in found.items()}


def full_start(job):
    """The MODEL whose weights the student starts from: start_model or the teacher, with start_lora baked in."""
    model = job.start_model or job.model
    if not job.start:
        return model
    tensors, recipe = loras.read(job.start, NODE)
    if job.start_model is None:
        patches.check_start(job, recipe, job.start)
    share = loras.match(model, None, tensors).share
    require(share >= 0.9, f'{NODE}: only {share:.0%} of "{job.start}" fits the model. Start from a LoRA of this model.')
    loras.check_shapes(model, tensors)
    return loras.apply(model, None, tensors, 1.0)[0]


def take_guidance(net: nn.Module, baked: bool) -> Tensor | None:
    """The guidance projection of a loaded LCM, its patch taken off the copied network; None where there is none.

    baked: its fixed guidance o stays, in the bias: W (x + o) + b = W x + (W o + b).
    """
    layer = net.time_embed[0]
    patch = vars(layer).get("forward")
    if not isinstance(patch, GuidedTimestep):
        return None
    del layer.forward
    if baked:
        layer.bias.data += layer.weight @ patch.offset.to(layer.weight)
    return patch.projection


def embed_guidance(net: nn.Module, denoise: Callable, usual: float, projection: Tensor | None) -> Callable:
    """Give the network LCM's guidance embedding, from the start's own projection or zero; returns its denoise."""
    net.time_embedding = embedding = GuidanceEmbedding(net.time_embed[0], denoise, usual)
    if projection is not None:
        width = projection.shape[1]
        require(width == WIDTH, f"{NODE}: start_model's guidance embedding is {width} wide, not {WIDTH} as LCM's.")
        embedding.cond_proj.weight.data.copy_(projection)
    return embedding.told
