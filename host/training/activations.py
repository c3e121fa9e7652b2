"""A forward pass on tensors without memory: what would autograd keep of it for the backward pass?"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...training import lora_forward
from ...training.adversarial import as_map
from .. import architectures, conditioning, kernels, model_copy, network_copy
from ..networks import Network
from . import layers
from .job import Job

OUTSIDE = -1  # no layer of a block: the time embedding, the skip connections
META = torch.device("meta")
KINDS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass
class Kept:
    """Bytes by layer of the network that stay for the backward pass, and the bytes of each layer's own input."""

    saved: dict[int, int] = field(default_factory=dict)
    inputs: dict[int, int] = field(default_factory=dict)
    layer: int = OUTSIDE

    @property
    def largest(self) -> int:
        return max((n for layer, n in self.saved.items() if layer != OUTSIDE), default=0)

    def bytes(self, checkpointed: bool) -> int:
        """All of it; or, recomputed layer by layer, the layers' inputs and the one layer in the making."""
        if not checkpointed:
            return sum(self.saved.values())
        return self.saved.get(OUTSIDE, 0) + sum(self.inputs.values()) + self.largest


def on_meta(module: nn.Module) -> nn.Module:
    """A deep copy whose tensors have a shape and no memory, without LoRAs that the host adds while it streams."""
    whole = (*module.parameters(), *module.buffers())
    tensors = {id(t): torch.empty(t.shape, dtype=t.dtype, device=META) for t in whole}
    kinds = {id(p): nn.Parameter(tensors[id(p)], requires_grad=False) for p in module.parameters()}
    clone = network_copy.copied(module, {**tensors, **kinds})
    for part in clone.modules():
        vars(part).update({name: [] for name in ("weight_function", "bias_function") if name in vars(part)})
    return clone


class Attention(torch.autograd.Function):
    """Keeps what a fused attention kernel keeps: q, k, v and its output, never the matrix of all pairs."""

    @staticmethod
    def forward(ctx, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out = torch.empty_like(q)
        ctx.save_for_backward(q, k, v, out)
        return out


def attention(q, k, v, heads, *_, skip_reshape=False, skip_output_reshape=False, **__) -> Tensor:
    """In the host's signature: [b, n, h d], or [b, h, n, d] with skip_reshape."""
    out = Attention.apply(q, k, v)
    if skip_reshape and not skip_output_reshape:
        return out.transpose(1, 2).flatten(2)
    return out


def add_lora(module: nn.Module, rank: int, kind: torch.dtype) -> None:
    """A LoRA on a module without memory, as it runs in training: two products beside it, or one in its place.

    kind: the precision of the run, which is not that of a packed weight.
    """
    shape = module.weight.shape
    down = nn.Parameter(torch.empty(rank, *shape[1:], dtype=kind, device=META))
    up = nn.Parameter(torch.empty(shape[0], rank, *([1] * (len(shape) - 2)), dtype=kind, device=META))
    run = module.forward

    def forward(x: Tensor) -> Tensor:
        if lora_forward.one_product(module, x, rank):
            return lora_forward.apply(module, x, lora_forward.merged(module.weight, down, up, 1.0))
        output = run(x)
        x = x if kind == torch.float32 else x.float().to(kind)  # peft's own cast, and autocast's
        if len(shape) == 2:
            return output + F.linear(F.linear(x, down), up)
        return output + F.conv2d(F.conv2d(x, down, None, module.stride, module.padding), up)

    module.forward = forward


def kept(job: Job) -> tuple[Kept, list[int]]:
    """(what one pass of the student with the run's batch and size keeps, channels of the discriminator's features)."""
    config, model = job.config, job.model
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        kernels.differentiable(attention),
        kernels.autocast_on_meta(),
    ):
        net = model_copy.to_trainable(on_meta(model.model.diffusion_model), KINDS[config.precision])
        net.dtype = KINDS[config.precision]
        if net.dtype != torch.float32:
            model_copy.keep_fp32_layer(net, model)
        if job.trains_lora:
            modules = dict(net.named_modules())
            own = job.training("student")
            for name in layers.chosen(model, own.layers):
                add_lora(modules[name], own.rank, KINDS[config.precision])
        else:
            net.requires_grad_(True)
        base = copy.copy(model.model)
        sampling = on_meta(model.get_model_object("model_sampling"))
        base._modules = {**model.model._modules, "diffusion_model": net, "model_sampling": sampling}
        base.manual_cast_dtype = None
        counts, widths = watched(net, architectures.network_of(model))
        with torch.autograd.graph.saved_tensors_hooks(counting(net, counts), lambda nothing: nothing):
            cond = keywords(job)
            told = architectures.told_length(model, cond)
            base.apply_model(*arguments(job), transformer_options={}, **cond, **told)
    return counts, widths


def watched(net: nn.Module, network: Network) -> tuple[Kept, list[int]]:
    """Counts that know in which layer the pass is, and a list that fills with the widths of the blocks' outputs."""
    counts, widths = Kept(), []

    def enter(layer: int) -> Callable:
        def hook(_, inputs: tuple, named: dict) -> None:
            counts.layer = layer
            counts.inputs[layer] = sum(x.nbytes for x in (*inputs, *named.values()) if isinstance(x, Tensor))

        return hook

    def leave(*_) -> None:
        counts.layer = OUTSIDE

    for number, layer in enumerate(layers.recomputed(net, network)):
        layer.register_forward_pre_hook(enter(number), with_kwargs=True)
        layer.register_forward_hook(leave)
    for layer in layers.features(net, network):
        layer.register_forward_hook(lambda _, __, output: widths.append(as_map(output).shape[1]))
    return counts, widths


def counting(net: nn.Module, counts: Kept) -> Callable:
    """A hook for saved tensors that adds up their storages, each once; weights are there anyway."""
    known = {t.untyped_storage()._cdata for t in (*net.parameters(), *net.buffers())}
    alive = []  # so that no storage's address is used again

    def pack(tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata not in known and not isinstance(tensor, nn.Parameter):
            known.add(storage._cdata)
            alive.append(storage)
            counts.saved[counts.layer] = counts.saved.get(counts.layer, 0) + storage.nbytes()

    return pack


def arguments(job: Job) -> tuple[Tensor, Tensor]:
    """(y, sigma) of one micro-batch."""
    shape, count = architectures.latent_shape(job.model, job.spec.height, job.spec.width), job.config.batch_size
    return torch.empty(count, *shape, device=META), torch.empty(count, device=META)


def keywords(job: Job) -> dict[str, Tensor]:
    """The empty prompt's conditioning, as large as the batch."""
    cond = conditioning.encode_prompts(job.model, job.clip, [""], job.spec.height, job.spec.width)[0]
    cond.pop("tokens", None)
    count = job.config.batch_size
    return {name: torch.empty(count, *t.shape[1:], dtype=t.dtype, device=META) for name, t in cond.items()}
