"""Whole few-step models from files: which names the file speaks, what of it fits, and the patches it needs."""

import copy
import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ...samplers.guidance_embedding import GuidedTimestep
from ...weights import checks, io, unet_names
from ...weights.threads import one_thread
from .. import folders
from ..networks import UNET
from ..progress import throw_if_cancelled
from ..sockets import Model

KINDS = ("checkpoints", "diffusion_models", "unet")
CHECKPOINT = "model.diffusion_model."
VAE = ("first_stage_model.", "vae.")
CLIP = ("cond_stage_model.", "conditioner.embedders.", "text_encoders.")
PROJECTION = "cond_proj.weight"
QUANTISED = (".scale_weight", ".weight_scale", ".comfy_quant", ".scale_input", "scaled_fp8")
LORA = (".lora_", ".lora_A", ".lora_B", ".hada_w1_a", ".lokr_w1")
RELOAD = "cached_patcher_init"  # later hosts: (function, arguments) that read a MODEL's file again
GUIDED_LAYER = f"diffusion_model.{UNET.guidance_layer}.forward"


@dataclass(frozen=True)
class Header:
    """Names, sizes and metadata of a file, and its guidance projection [channels, width] where it has one."""

    path: str
    shapes: dict[str, tuple[int, ...]]
    metadata: dict[str, str]
    projection: Tensor | None

    @property
    def keys(self) -> list[str]:
        return list(self.shapes)

    @property
    def is_checkpoint(self) -> bool:
        return any(key.startswith(CHECKPOINT) for key in self.keys)

    @property
    def is_diffusers(self) -> bool:
        return not self.is_checkpoint and self.has(("down_blocks.",))

    @property
    def is_u_net(self) -> bool:
        """A U-Net that is not quantised: its weights are compared and checked here. Others are the host's business."""
        names = [key.removeprefix(CHECKPOINT) for key in self.keys]
        packed = any(name.endswith(QUANTISED) for name in names)
        return not packed and any(name.startswith(("input_blocks.", "down_blocks.")) for name in names)

    def has(self, prefixes: tuple[str, ...]) -> bool:
        return any(key.startswith(prefixes) for key in self.keys)


@dataclass(frozen=True)
class Match:
    """Names of the diffusion network's tensors. One of another size in the file than in the network is missing."""

    matched: list[str]
    missing: list[str]  # the network has them, the file not
    unknown: list[str]  # the file has them, the network not

    @property
    def share(self) -> float:
        return len(self.matched) / max(len(self.matched) + len(self.missing) + len(self.unknown), 1)


def names() -> list[str]:
    """Every model file of the host's folders, each once."""
    known = [kind for kind in KINDS if kind in folders.folder_paths.folder_names_and_paths]
    return sorted({name for kind in known for name in folders.names(kind)})


def locate(name: str) -> tuple[str, str | None]:
    """(the kind of folder, the path) of a listed file; the path is None where there is none."""
    known = [kind for kind in KINDS if kind in folders.folder_paths.folder_names_and_paths]
    return next(((kind, path) for kind in known if (path := folders.full_path(kind, name))), ("", None))


def find(name: str) -> str | None:
    return locate(name)[1]


def read(name: str) -> Header:
    """The header of a listed file. ValueError: not there, not safetensors, damaged, or no diffusion model."""
    path = find(name)
    if path is None:
        raise ValueError("is in no checkpoints or diffusion_models folder. Refresh the list, or check the name.")
    if not path.lower().endswith((".safetensors", ".sft")):
        raise ValueError(
            "is not a .safetensors file, and other kinds can carry code. Load it in diffusers and save it again with "
            "save_pretrained(..., safe_serialization=True), or take the author's .safetensors."
        )
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118 (not a dict)
            embedding = next((key for key in shapes if key.endswith(PROJECTION)), None)
            projection = file.get_tensor(embedding).clone() if embedding else None  # a view would keep the file mapped
            header = Header(path, shapes, file.metadata() or {}, projection)
    except SafetensorError as error:
        raise ValueError(f"cannot be read as a safetensors file ({error}). Download it again.") from error
    except OSError as error:
        raise ValueError(io.unopened(error)) from error
    if re.search(r"-\d{5}-of-\d{5}\.", path):
        raise ValueError("is one part of several. Join them: in diffusers, save_pretrained(max_shard_size='100GB').")
    if header.has(("controlnet_cond_embedding.", "control_model.", "controlnet_down_blocks.")):
        raise ValueError("is a ControlNet, not a whole model. It goes into the stock Load ControlNet Model.")
    if not header.shapes or any(part in key for key in header.shapes for part in LORA):
        raise ValueError("holds no diffusion model. A LoRA goes into FewStep Load LoRA.")
    return header


def check_values(header: Header) -> None:
    """Raise ValueError for weights that are not finite, before the host is given them; reads the file once."""
    with one_thread(), safe_open(header.path, framework="pt", device="cpu") as file:
        for key in header.shapes:
            throw_if_cancelled()
            checks.check_finite(key, file.get_tensor(key))


def load(header: Header) -> tuple:
    """(MODEL, CLIP or None, VAE or None) through the host's own loaders."""
    import comfy.sd

    try:
        if header.is_checkpoint:
            parts = {"output_vae": header.has(VAE), "output_clip": header.has(CLIP)}
            loaded = comfy.sd.load_checkpoint_guess_config(header.path, **parts)[:3]
        elif header.is_diffusers:
            loaded = (reloadable(load_diffusers, header), None, None)
        else:
            reader = getattr(comfy.sd, "load_diffusion_model", None) or comfy.sd.load_unet
            loaded = (reader(header.path), None, None)
    except torch.cuda.OutOfMemoryError:
        raise  # the file is fine; the host frees memory and says so itself
    except (RuntimeError, AttributeError, TypeError, LookupError) as error:
        said = " ".join(str(error).split())  # the host may list every tensor
        said = said if len(said) <= 300 else f"{said[:300]} ..."
        raise ValueError(f"is not known to this host, or is damaged ({said}).") from error
    if loaded[0] is None:
        raise ValueError("holds a diffusion model of a kind that this host does not know.")
    return loaded


def reloadable(load: Callable, header: Header) -> Model:
    """load(header) as the host's own loaders leave a MODEL: later hosts read the file again for a clone that is not
    streamed, as the compile node and training want it."""
    model = load(header)
    if hasattr(model, RELOAD):
        setattr(model, RELOAD, (load, (header,)))
    return model


def load_diffusers(header: Header, **options) -> Model:
    """A U-Net in diffusers' names, given to the host in ldm's: it then finds any size in the tensors themselves.

    options: of the host's reader, such as disable_dynamic.
    """
    import comfy.sd
    from comfy import utils

    names = unet_names.to_ldm(header.keys)
    tensors = {names[key]: tensor for key, tensor in utils.load_torch_file(header.path).items()}
    tensors = {key: tensor for key, tensor in tensors.items() if not key.endswith(PROJECTION)}
    reader = getattr(comfy.sd, "load_diffusion_model_state_dict", None) or comfy.sd.load_unet_state_dict
    return reader(tensors, **options)


def match(model: Model, header: Header) -> Match:
    """Compare the network with what the file has for it, in the network's names."""
    state = model.model.state_dict()
    expected = {key.removeprefix("diffusion_model."): t.shape for key, t in state.items() if "diffusion_model." in key}
    prefix = CHECKPOINT if header.is_checkpoint else ""
    shapes = {key.removeprefix(prefix): s for key, s in header.shapes.items() if key.startswith(prefix)}
    shapes = {key: shape for key, shape in shapes.items() if not key.endswith(PROJECTION)}
    if header.is_diffusers:
        names = unet_names.to_ldm(list(shapes))
        shapes = {names[key]: shape for key, shape in shapes.items()}
    same = {key for key in shapes.keys() & expected.keys() if math.prod(shapes[key]) == expected[key].numel()}
    return Match(sorted(same), sorted(expected.keys() - same), sorted(shapes.keys() - expected.keys()))


@torch.inference_mode()
def zero(model: Model, names: list[str]) -> None:
    """Set weights that no file gave to 0, as newer hosts do: older ones leave there what was in memory, even NaN."""
    weights = dict(model.model.diffusion_model.named_parameters())
    for name in names:
        if name in weights:  # buffers come with their values
            weights[name].zero_()


def with_guidance(model: Model, projection: Tensor, guidance: float) -> Model:
    """A clone that is told the guidance scale. Parameters keep their names, so LoRAs and offloading work."""
    layer = model.model.diffusion_model.get_submodule(UNET.guidance_layer)
    if projection.shape[0] != layer.weight.shape[1]:
        raise ValueError(f"has a guidance projection of {projection.shape[0]} channels, not {layer.weight.shape[1]}.")
    guided = model.clone()
    guided.add_object_patch(GUIDED_LAYER, GuidedTimestep(own_forward(layer), projection, guidance))
    if hasattr(guided, "add_callback_with_key"):
        from comfy.patcher_extension import CallbacksMP

        guided.add_callback_with_key(CallbacksMP.ON_CLONE, GUIDED_LAYER, follow)
    return guided


def own_forward(layer: torch.nn.Module) -> Callable[[Tensor], Tensor]:
    return type(layer).forward.__get__(layer)


def follow(model: Model, clone: Model) -> None:
    """A clone that is not streamed has another network: its patch runs that one's layer. For the host's ON_CLONE."""
    patch = clone.object_patches.get(GUIDED_LAYER)
    if isinstance(patch, GuidedTimestep) and clone.model is not model.model:
        layer = clone.model.diffusion_model.get_submodule(UNET.guidance_layer)
        moved = copy.copy(patch)
        moved.forward = own_forward(layer)
        clone.object_patches[GUIDED_LAYER] = moved


def predicting_x0(model: Model) -> Model:
    """A clone whose network's output is the clean latent itself."""
    from comfy import model_sampling

    class CleanPrediction(model_sampling.ModelSamplingDiscrete, model_sampling.EPS):
        def calculate_denoised(self, sigma: Tensor, model_output: Tensor, model_input: Tensor) -> Tensor:
            return model_output

    patched = model.clone()
    with torch.inference_mode(False):
        patched.add_object_patch("model_sampling", CleanPrediction(model.model.model_config))
    return patched
