"""LoRAs on the host's MODEL: does a file fit, what matches, and the patched clone."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..samplers import schedule
from ..samplers.schedule import SCHEDULES
from ..weights import checks, families, io, keys
from . import folders

FAMILIES = {64: "the tiny base", 768: "SD1.5", 1024: "SD2.x", 2048: "SDXL"}


@dataclass(frozen=True)
class Match:
    """Modules of a file that the model (or its text encoder) knows, and those it does not."""

    matched: list[str]
    unmatched: list[str]

    @property
    def share(self) -> float:
        return len(self.matched) / max(len(self.matched) + len(self.unmatched), 1)


def read(name: str, node: str) -> tuple[dict, dict]:
    """Tensors (in kohya's form) and metadata of a file in a loras folder. Errors name the node."""
    path = folders.full_path("loras", name)
    if path is None:
        raise ValueError(f'{node}: "{name}" is in no loras folder. Refresh the list, or check the name.')
    if not str(path).lower().endswith(".safetensors"):
        raise ValueError(f'{node}: "{name}" is not a .safetensors file, and other kinds can carry code. Convert it.')
    try:
        tensors, metadata = io.load(path)
    except ValueError as error:
        raise ValueError(f"{node}: {error}") from error
    try:
        tensors = keys.to_kohya(tensors)
        checks.check(tensors)
        return tensors, metadata
    except ValueError as error:
        raise ValueError(f'{node}: "{name}": {error}') from error


def renamed(name: str) -> int:
    """How many keys of the file were brought to kohya's form; reads the header alone."""
    return sum(keys.kohya_key(key) != key for key in io.names(folders.full_path("loras", name)))


def sha256(name: str) -> str:
    """The hash of a file in a loras folder."""
    return folders.sha256(folders.full_path("loras", name))


def timesteps_of(settings: families.Settings, steps: int, denoise: float = 1.0) -> list[int]:
    """The file's own list for this number of steps, where it has one and starts from noise; else its schedule's."""
    if denoise == 1 and str(steps) in settings.timesteps:
        return settings.timesteps[str(steps)]
    return SCHEDULES[settings.schedule](steps, denoise)


def sigmas_of(model_sampling, settings: families.Settings, steps: int, denoise: float = 1.0) -> Tensor:
    """SIGMAS of a file: its exact ones where it has them, else those of its timesteps.

    Raises ValueError when exact sigmas are asked for other steps, image to image, or a model that is no flow model.
    """
    if not settings.sigmas:
        return schedule.sigmas_of(model_sampling, timesteps_of(settings, steps, denoise))
    if not schedule.is_flow(model_sampling):
        raise ValueError(f"{settings.family} is for a flow model, and this model is none. Load its own base.")
    if str(steps) not in settings.sigmas or denoise != 1:
        raise ValueError(
            f"{settings.family} has exact sigmas for {', '.join(settings.sigmas)} steps at denoise 1, not for {steps} "
            f"at {denoise:g}. Set these, or choose sigmas with FewStep Schedule."
        )
    return torch.tensor(settings.sigmas[str(steps)])


def model_context(model) -> int | None:
    """Width of the text context the model reads."""
    return model.model.model_config.unet_config.get("context_dim")


def family(width: int | None) -> str:
    return FAMILIES.get(width, "an unknown base")


def match(model, clip, tensors: dict[str, Tensor]) -> Match:
    """Compare a file in kohya's form with the host's own key map; its text encoder part only where there is a CLIP."""
    import comfy.lora

    known = comfy.lora.model_lora_keys_unet(model.model, {})
    if clip is not None:
        known = comfy.lora.model_lora_keys_clip(clip.cond_stage_model, known)
    modules = [m for m in keys.modules_of(tensors) if clip is not None or not m.startswith("lora_te")]
    return Match([m for m in modules if m in known], [m for m in modules if m not in known])


def check_shapes(model, tensors: dict[str, Tensor]) -> None:
    """Raise ValueError where a plain LoRA's delta has not the size of the weight it is for (the host would skip it)."""
    import comfy.lora

    weights = model.model.state_dict()
    for module, target in comfy.lora.model_lora_keys_unet(model.model, {}).items():
        up, down = tensors.get(f"{module}.lora_up.weight"), tensors.get(f"{module}.lora_down.weight")
        if up is None or not isinstance(target, str) or f"{module}.lora_mid.weight" in tensors:
            continue  # a target with an offset is a part of a joined weight
        weight = weights.get(target)
        if weight is None or not weight.is_floating_point():
            continue  # packed weights have other shapes
        if up.shape[0] * down[0].numel() != weight.numel():
            raise ValueError(
                f"{module} has {tuple(up.shape)} x {tuple(down.shape)}, the model's weight is {tuple(weight.shape)}. "
                "The file is for another base."
            )


def apply(model, clip, tensors: dict[str, Tensor], strength: float):
    """(MODEL, CLIP) with the LoRA on them; the inputs stay as they are. CLIP may be None."""
    import comfy.sd

    return comfy.sd.load_lora_for_models(model, clip, tensors, strength, strength if clip is not None else 0.0)
