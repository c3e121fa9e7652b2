"""From the host's MODEL to a network that can be trained, and back to a LoRA the host can load.

The training copy is the MODEL as wired: LoRA and object patches baked in, every parameter and buffer cloned outside
inference mode; a quantised weight is not copied but shared, as it is stored. The MODEL itself is never touched.
"""

import copy
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from comfy import model_management
from torch import Tensor, nn

from ..samplers.schedule import flow_sigma, is_flow
from ..training.packed import Packed
from . import architectures, kernels, network_copy, quantised
from .sockets import Model


def call_supported(function: Callable, *args, **options):
    """Call with only those options that this host's version of the function knows."""
    known = inspect.signature(function).parameters
    return function(*args, **{name: value for name, value in options.items() if name in known})


def to_trainable(module: nn.Module, dtype: torch.dtype, device: torch.device | None = None) -> nn.Module:
    """Deep copy with every parameter and buffer an ordinary tensor (loaded weights are inference tensors), but for the
    quantised weights of Linears and convolutions: they are the original's own, unpacked where they are used."""
    packed = [part.weight for part in module.modules() if quantised.stays_packed(part)]
    clone = network_copy.copied(module, {id(weight): quantised.shared(weight) for weight in packed})
    for part in clone.modules():
        if not quantised.stays_packed(part):
            take_values(part, dtype)
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = buffer.detach().clone()
        if isinstance(part, nn.LayerNorm):  # some hosts add to the block's input in place (`x += n`)
            part.register_forward_pre_hook(lambda _, inputs: (inputs[0].clone(), *inputs[1:]))
    clone = clone if device is None else clone.to(device)
    quantised.replace(clone, dtype)
    return clone


def take_values(part: nn.Module, dtype: torch.dtype) -> None:
    """A layer's own parameters as ordinary tensors in that dtype, quantised ones too."""
    for name, parameter in part._parameters.items():
        if parameter is not None:
            numbers = parameter.is_floating_point() or quantised.is_packed(parameter)
            found = quantised.unpacked(part, parameter, dtype if numbers else parameter.dtype)
            part._parameters[name] = nn.Parameter(found.detach().clone(), requires_grad=False)


def refuse_quantised(net: nn.Module, node: str) -> None:
    """Every weight of a network is trained: none may be quantised."""
    found = quantised.first_of(net)
    if found:
        raise ValueError(
            f"{node}: train full changes every weight, and the model's are quantised: {found[1]} ({found[0]}). Set "
            "train to lora, which leaves them as they are, or load the fp16, bf16 or fp32 checkpoint."
        )


def unstreamed(model: Model, node: str) -> Model:
    """A clone of the MODEL whose weights are all in memory, on hosts that can stream them."""
    try:
        return call_supported(model.clone, disable_dynamic=True)
    except RuntimeError as error:
        raise ValueError(
            f"{node}: this MODEL's weights are streamed and cannot be copied ({error}). Load it with a stock loader."
        ) from error


class TrainingCopy:
    """The teacher as an ordinary network: `denoise(y, sigma, cond) -> x0` through the host's own `apply_model`."""

    def __init__(self, model: Model, dtype: torch.dtype = torch.float32, node: str = "FewStep"):
        """model: the host's MODEL, left as it is; dtype: of weights and forward pass."""
        patched = unstreamed(model, node)
        with torch.inference_mode():  # as the host itself does: weights that move outside it cannot be read again
            call_supported(model_management.load_models_gpu, [patched], force_patch_weights=True, force_full_load=True)
        with torch.inference_mode(False), torch.no_grad():
            self.net = to_trainable(patched.model.diffusion_model, dtype, patched.load_device).eval()
            self.net.dtype = dtype
            if dtype != torch.float32:
                keep_fp32_layer(self.net, model)
            self.base = copy.copy(patched.model)
            self.base._modules = dict(patched.model._modules)
            self.base._modules["diffusion_model"] = self.net
            sampling = patched.get_model_object("model_sampling")
            self.base._modules["model_sampling"] = copy_of(sampling)
            self.base.manual_cast_dtype = None
        with torch.inference_mode():
            model_management.unload_all_models()  # one copy alive: the host loads its own again when it samples
        model_management.soft_empty_cache()
        self.device, self.dtype = patched.load_device, dtype
        self.transformer_options = model.model_options.get("transformer_options", {})
        self.told_length, self.texts = partial(architectures.told_length, model), architectures.texts_of(model)
        self.sampling = self.base._modules["model_sampling"]

    def denoise(self, y: Tensor, sigma: Tensor, cond: dict) -> Tensor:
        """x0 [b, c, ...] in fp32 from y = alpha x0 + sigma eps; cond: the host's keywords as tensors [b, ...].

        Texts that came with their own lengths (`tokens` [b, texts]) are cut back to them, one length at a time.
        """
        cond = dict(cond)
        lengths = cond.pop("tokens", None)
        if lengths is None:
            told = self.told_length(cond)
            options = dict(self.transformer_options)
            return self.base.apply_model(y, sigma, transformer_options=options, **cond, **told).float()
        x0 = torch.zeros_like(y, dtype=torch.float32)
        for length in lengths.unique(dim=0):
            rows = torch.nonzero((lengths == length).all(1)).flatten()
            some = {name: value[rows] for name, value in cond.items()}
            some |= {name: some[name][:, :n] for name, n in zip(self.texts, length.tolist(), strict=True)}
            x0 = x0.index_copy(0, rows, self.denoise(y[rows], sigma[rows], some))
        return x0

    def running(self, net: nn.Module) -> Callable:
        """denoise through another network in this one's place."""
        twin = copy.copy(self)
        twin.net, twin.base = net, copy.copy(self.base)
        twin.base._modules = {**self.base._modules, "diffusion_model": net}
        return twin.denoise

    def sigmas(self) -> Tensor:
        """The sigma of each training timestep, [1000] fp32, rising."""
        if is_flow(self.sampling):
            return torch.tensor([flow_sigma(self.sampling, t) for t in range(1000)])
        return torch.stack([self.sampling.sigma(torch.tensor(float(t))) for t in range(1000)]).float().cpu()


def keep_fp32_layer(net: nn.Module, model: Model) -> None:
    """Run the layer in fp32 that the family's row names: a U-Net's last, Wan's first.

    An eps network's error is multiplied by 1/a_t in x0, 14.6 at t = 999: there bf16's is as large as what two
    neighbouring points of a trajectory differ by. A transformer's v is not multiplied.
    """
    row = architectures.find(model)
    if row is None or row.network is None or not row.network.fp32_layer:
        return
    last = net.get_submodule(row.network.fp32_layer)
    for part in last.modules():
        if not isinstance(part, Packed):  # which unpacks to the dtype of what comes in
            take_values(part, torch.float32)
    run = last.forward

    def in_fp32(hidden: Tensor) -> Tensor:
        with torch.autocast(hidden.device.type, enabled=False):
            return run(hidden.float())

    last.forward = in_fp32


def precision_for(model: Model) -> str:
    """What "auto" means: fp32 without CUDA. There fp16 for U-Nets, whose x0 multiplies rounding errors (in bf16 the
    difference that consistency learns from keeps a cosine of 0.8 with fp32's, in fp16 0.99); bf16 for flow models,
    whose x0 multiplies none, and for models that are in bf16 already."""
    if model.load_device.type != "cuda":
        return "fp32"
    flow = is_flow(model.get_model_object("model_sampling"))
    return "bf16" if flow or model.model.get_dtype() == torch.bfloat16 else "fp16"


def copy_of(module: nn.Module) -> nn.Module:
    """Deep copy whose buffers are ordinary tensors."""
    clone = copy.deepcopy(module)
    for name, buffer in clone._buffers.items():
        clone._buffers[name] = buffer.detach().clone()
    return clone


@contextmanager
def training_mode() -> Iterator[None]:
    """Gradients on, the host's training flag up, and attention through torch's differentiable kernel."""
    from comfy.ldm.modules import attention

    flag = getattr(model_management, "in_training", None)
    try:
        if flag is not None:
            model_management.in_training = True
        with kernels.differentiable(attention.attention_pytorch), torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        if flag is not None:
            model_management.in_training = flag
