"""The networks of a run by role, and what the student starts from: LoRAs on one copy of the MODEL, or whole copies."""

import copy as copies
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from ...samplers.guidance_embedding import WIDTH, GuidedTimestep
from ...training import sharding
from ...training.checks import require
from ...training.data import Examples, make_batch
from ...training.guidance_embedding import GuidanceEmbedding
from ...training.roles import DISCRIMINATOR, Adapter, LoraRoles, checkpoint_blocks
from ...weights import keys
from .. import architectures
from ..loading import loras
from ..model_copy import TrainingCopy
from ..sockets import Model
from . import layers
from .job import NODE, Job
from .parted import in_parts


def roles_of(job: Job, copy: TrainingCopy, examples: Examples) -> LoraRoles:
    """Every role of the method: LoRAs on the one copy, or networks of their own; and the discriminator's heads."""
    config = job.config
    wholes = {} if job.trains_lora else whole_networks(job, copy)
    own = adapters(job, (role for role in job.roles if role not in wholes))
    roles = LoraRoles(copy.net, copy.denoise, own, config.seed, wholes)
    if job.trains_lora and job.start:
        start_from(job, roles)
    network = architectures.network_of(job.model)
    nets = {role: net for role, (net, _) in wholes.items()}
    if config.gradient_checkpointing:
        every = (copy.net, *nets.values())
        for net in every:
            layers.make_repeatable(net, network)
        checkpoint_blocks(roles, [layer for net in every for layer in layers.recomputed(net, network)])
    if DISCRIMINATOR in job.method.roles:
        one = make_batch(examples, config.seed, 0, 1, copy.device)
        example = (one.noise, torch.ones(1, device=copy.device), one.cond)
        looked_at = job.method.discriminator_features
        blocks = layers.features(nets.get(looked_at, copy.net), network, job.method.discriminator_maps)
        roles.add_discriminator(blocks, example, config.seed, looked_at)
    if in_parts(job, examples):
        for net in nets.values():
            sharding.shard(net, layers.recomputed(net, network), copy.device, job.processes.count)
    return roles


def adapters(job: Job, names: Iterable[str]) -> dict[str, Adapter]:
    """{role: its LoRA}, by the method's numbers where the run leaves them open."""
    training = {role: job.training(role) for role in names if role != DISCRIMINATOR}
    targets = {own.layers: tuple(layers.chosen(job.model, own.layers)) for own in training.values()}
    return {role: Adapter(targets[own.layers], own.rank, own.alpha) for role, own in training.items()}


def start_from(job: Job, roles: LoraRoles) -> None:
    """Let the adapters begin as an earlier LoRA instead of as the teacher; the critic still begins as the teacher."""
    tensors, _ = loras.read(job.start, NODE)
    own = job.training("student")
    names, scale = layers.lora_names(job.model), own.alpha / own.rank
    for role in (role for role in roles.roles if role != "critic"):
        try:
            taken, wanted = keys.import_lora(tensors, roles.parameters(role), names, scale)
        except ValueError as error:
            raise ValueError(f'{NODE}: "{job.start}": {error}') from error
        require(
            taken >= 0.9 * wanted,
            f'{NODE}: "{job.start}" has only {taken} of the {wanted} modules to train. Start from a LoRA '
            "of this model that covers its convolutions too, or from none.",
        )


def whole_networks(job: Job, copy: TrainingCopy) -> dict[str, tuple[nn.Module, Callable]]:
    """{role: (network in fp32, its denoise)}. The critic begins as the teacher, the others as the student's start.

    Without them are the discriminator, which is heads on another role, and the critic that stays a LoRA.
    """
    lone = {DISCRIMINATOR, "critic"} if job.config.train == "full" else {DISCRIMINATOR}
    nets, embeds = {}, job.method.embeds_guidance
    for role in (role for role in job.roles if role not in lone):
        if role == "critic":
            nets[role] = TrainingCopy(job.model, torch.float32, NODE).net
        elif "student" in nets:
            nets[role] = copies.deepcopy(nets["student"])
        else:
            nets[role] = TrainingCopy(start_of_the_weights(job), torch.float32, NODE).net
            layer = architectures.network_of(job.model).guidance_layer
            projection = take_guidance(nets[role], layer, baked=not embeds)
    runs = {role: copy.running(net) for role, net in nets.items()}
    for role in (role for role in nets if embeds and role != "critic"):
        runs[role] = embed_guidance(nets[role], layer, runs[role], job.guidance - 1, projection)
    return {role: (net, runs[role]) for role, net in nets.items()}


def start_of_the_weights(job: Job) -> Model:
    """The MODEL whose weights the student starts from: start_model or the teacher, with start_lora baked in."""
    model = job.start_model or job.model
    if not job.start:
        return model
    tensors, _ = loras.read(job.start, NODE)
    return loras.apply(model, None, tensors, 1.0)[0]


def take_guidance(net: nn.Module, name: str, baked: bool) -> Tensor | None:
    """The guidance projection of a loaded LCM, its patch taken off the copied network; None where there is none.

    name: of the layer that it goes into. baked: its fixed guidance o stays, in the bias: W (x + o) + b = W x + (W o +
    b).
    """
    layer = net.get_submodule(name)
    patch = vars(layer).get("forward")
    if not isinstance(patch, GuidedTimestep):
        return None
    del layer.forward
    if baked:
        layer.bias.data += layer.weight @ patch.offset.to(layer.weight)
    return patch.projection


def embed_guidance(net: nn.Module, name: str, denoise: Callable, usual: float, projection: Tensor | None) -> Callable:
    """Give the network LCM's guidance embedding, from the start's own projection or zero; returns its denoise."""
    with torch.random.fork_rng(devices=[]):  # a new layer draws random numbers, though these begin as zeros
        net.time_embedding = embedding = GuidanceEmbedding(net.get_submodule(name), denoise, usual)
    if projection is not None:
        width = projection.shape[1]
        require(width == WIDTH, f"{NODE}: start_model's guidance embedding is {width} wide, not {WIDTH} as LCM's.")
        embedding.cond_proj.weight.data.copy_(projection)
    return embedding.told
