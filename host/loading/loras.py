"""LoRAs on the host's MODEL: does a file fit, what matches, and the patched clone."""

import logging
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ...weights import bases, checks, io, keys, peft_alpha, sizes, stream
from .. import architectures, folders, model_copy
from ..sockets import Clip, Model

log = logging.getLogger(__name__)
CORE = "lokr_t2"  # the part of a LoKr that makes its second factor a kernel


@dataclass(frozen=True)
class Match:
    """What of a file the model knows: modules of its network, and how many tensors they are. Alphas are not counted."""

    matched: list[str]
    unmatched: list[str]
    tensors: tuple[int, int]  # (matched, not) of the network
    text: tuple[int, int]  # (matched, not) of the text encoder; without a CLIP none matches

    @property
    def share(self) -> float:
        return self.tensors[0] / max(sum(self.tensors), 1)


def read(name: str, node: str) -> tuple[dict, dict]:
    """Tensors (in kohya's form) and metadata of a file in a loras folder. Errors name the node."""
    path = path_of(name, node)
    try:
        stream.read_header(Path(path))  # how much it claims, before anything is made of it
        tensors, metadata = io.load(path)
    except ValueError as error:
        raise ValueError(f"{node}: {error}") from error
    try:
        tensors = keys.to_kohya(peft_alpha.with_alphas(tensors, metadata))
        checks.check(tensors)
        return tensors, metadata
    except ValueError as error:
        raise ValueError(f'{node}: "{name}": {error}') from error


def converted(name: str, tensors: dict[str, Tensor]) -> int:
    """How many of the tensors go by another name than in the file; reads its header alone."""
    in_file = set(io.names(folders.full_path("loras", name)))
    return sum(key not in in_file for key in tensors if not key.endswith(".alpha"))


def path_of(name: str, node: str) -> str:
    """The path of a listed .safetensors file. Errors name the node."""
    path = folders.full_path("loras", name)
    if path is None:
        raise ValueError(f'{node}: "{name[:80]}" is in no loras folder. Refresh the list, or check the name.')
    if not str(path).lower().endswith(".safetensors"):
        raise ValueError(f'{node}: "{name}" is not a .safetensors file, and other kinds can carry code. Convert it.')
    return path


def metadata(name: str, node: str) -> dict[str, str]:
    """The metadata alone, from the header. Errors name the node."""
    path = path_of(name, node)
    try:
        return stream.read_header(Path(path)).metadata
    except ValueError as error:
        raise ValueError(f"{node}: {error}") from error


def sha256(name: str) -> str:
    """The hash of a file in a loras folder."""
    return io.sha256(folders.full_path("loras", name))


def base_of(model: Model) -> str | None:
    """The model's base by the name that `weights.bases` gives it; None where the host has a class of its own for it."""
    row = architectures.find(model)
    return row and row.base


def network_map(model: Model) -> dict:
    """The host's own map {module: weight, or (weight, part, ...)}, without weights that this model has not."""
    import comfy.lora

    weights = model.model.state_dict()
    known = comfy.lora.model_lora_keys_unet(model.model, {})
    return {module: target for module, target in known.items() if weight_of(target) in weights}


def weight_of(target) -> str:
    return target if isinstance(target, str) else target[0]


def fitted(model: Model, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The file under the names of the host's map: other prefixes and separators of the same module are brought to one.

    Raises ValueError when two modules of the file are one of the model.
    """
    known = network_map(model)
    names = bases.aliases(known)
    fitting: dict[str, Tensor] = {}
    for module, parts in keys.modules_of(tensors).items():
        ours = module if module in known else names.get(bases.plain(module), module)
        for key in parts:
            name = ours + key.removeprefix(module)
            if name in fitting:
                raise ValueError(f"{key} is the same weight as another ({name}). Keep one of the two.")
            fitting[name] = tensors[key]
    return fitting


def match(model: Model, clip: Clip | None, tensors: dict[str, Tensor]) -> Match:
    """Compare a fitted file with what the host's own loader takes of it; the text encoder's part needs a CLIP."""
    import comfy.lora

    modules = keys.modules_of(tensors)
    text = {module for module in modules if module.startswith("lora_te")}
    known = network_map(model)
    taken = taken_by_host(known, tensors, modules) - left_by_host(model, known, tensors, modules)
    if clip is not None:
        taken |= taken_by_host(comfy.lora.model_lora_keys_clip(clip.cond_stage_model, {}), tensors, modules)
    network = [module for module in modules if module not in text]

    def count(names) -> int:
        return sum(not key.endswith(".alpha") for module in names for key in modules[module])

    lost = [module for module in network if module not in taken]
    return Match(
        [module for module in network if module in taken],
        lost,
        (count(taken - text), count(lost)),
        (count(taken & text), count(text - taken)),
    )


def taken_by_host(known: dict, tensors: dict[str, Tensor], modules: dict[str, list[str]]) -> set[str]:
    """The modules that the host's loader makes a patch of; it passes over parts that it does not know."""
    import comfy.lora

    parts = {key: tensors[key] for module in modules if module in known for key in modules[module]}
    loaded = model_copy.call_supported(comfy.lora.load_lora, parts, known, log_missing=False)
    weights = {weight_of(target) for target in loaded}

    def taken(module: str) -> bool:
        weight = weight_of(known[module])
        return weight in weights or f"{weight.removesuffix('.weight')}.bias" in weights

    return {module for module in modules if module in known and taken(module)}


def left_by_host(model: Model, known: dict, tensors: dict[str, Tensor], modules: dict[str, list[str]]) -> set[str]:
    """The LoKr modules with a core that the host loads but cannot add: torch.kron fails on the core's product on some
    versions, and the host leaves the weight and logs an error. Tried on parts of ones, a module at a time."""
    import comfy.lora

    cores = [m for m in modules if m in known and f"{m}.{CORE}" in tensors]
    left, weights = set(), model.model.state_dict() if cores else {}
    for module in cores:
        shape, ones = weights[weight_of(known[module])].shape, {k: torch.ones_like(tensors[k]) for k in modules[module]}
        if not sizes.fits(parts_of(module, ones), shape):
            continue  # check_shapes refuses it by name
        loaded = model_copy.call_supported(comfy.lora.load_lora, ones, {module: known[module]}, log_missing=False)
        tried, key = model.clone(), weight_of(known[module])
        tried.patches = {}
        tried.add_patches(loaded, 1.0)
        calculate = getattr(comfy.lora, "calculate_weight", None) or tried.calculate_weight
        if not calculate(tried.patches[key], torch.zeros(shape), key).any():
            left.add(module)
    if left:
        log.warning("%s LoKr modules with a core (%s) are left alone: this host cannot add them.", len(left), CORE)
    return left


def check_shapes(model: Model, tensors: dict[str, Tensor]) -> None:
    """Raise ValueError where a delta has not the shape of the weight it is for (the host would skip it)."""
    weights, known = model.model.state_dict(), network_map(model)
    for module, names in keys.modules_of(tensors).items():
        weight = weights[weight_of(known[module])] if module in known else None
        if weight is None or not weight.is_floating_point():  # packed weights have other shapes
            continue
        parts = parts_of(module, {name: tensors[name] for name in names})
        if not sizes.fits(parts, shape_of(weight, known[module])):
            shapes = [tuple(tensors[name].shape) for name in names if tensors[name].ndim]
            raise ValueError(
                f"{module} has {' x '.join(map(str, shapes))}, the model's weight is {tuple(weight.shape)}. "
                "The file is for another base."
            )


def parts_of(module: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """One module's tensors by the names of its parts."""
    return {key.removeprefix(f"{module}."): tensor for key, tensor in tensors.items()}


def shape_of(weight: Tensor, target: str | tuple) -> tuple[int, ...]:
    """Of the weight, or of the part of a joined weight that the target says: (axis, start, length)."""
    shape, part = list(weight.shape), None if isinstance(target, str) else target[1]
    if part is not None:
        shape[part[0]] = part[2]
    return tuple(shape)


def apply(model: Model, clip: Clip | None, tensors: dict[str, Tensor], strength: float) -> tuple[Model, Clip | None]:
    """(MODEL, CLIP) with the LoRA on them; the inputs stay as they are. CLIP may be None."""
    import comfy.sd

    return comfy.sd.load_lora_for_models(model, clip, tensors, strength, strength if clip is not None else 0.0)
