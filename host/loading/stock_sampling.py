"""The host's own sampler, schedule and model sampling, for the files that were made for them."""

from torch import Tensor

from ...weights.families import Settings
from ..sockets import Model


def sampler(name: str):
    """A SAMPLER of the host by its menu's name. Raises ValueError where this host has none of that name."""
    from comfy import samplers
    from comfy.k_diffusion import sampling

    if name not in samplers.SAMPLER_NAMES and not hasattr(sampling, f"sample_{name}"):
        raise ValueError(f"needs the host's sampler {name}, which this ComfyUI does not have. Update ComfyUI.")
    return samplers.sampler_object(name)


def sigmas(model_sampling, name: str, steps: int, denoise: float) -> Tensor:
    """The host's schedule, of which denoise below 1 takes the last steps, as the stock BasicScheduler does."""
    from comfy import samplers

    return samplers.calculate_sigmas(model_sampling, name, int(steps / denoise))[-(steps + 1) :]


def with_shift(model: Model, settings: Settings) -> Model:
    """A clone with the sampling that the file needs, or the model itself where it needs none."""
    return SHIFTERS[settings.shift_node](model, settings.shift) if settings.shift_node else model


def minimax_h3_shift(model: Model, shift: float, audio: float = 3.0):
    """Video and audio shifts by the host's own node, which its network reads; 3 for audio in every source."""
    import nodes

    node = nodes.NODE_CLASS_MAPPINGS.get("MiniMaxH3SigmaShift")
    if node is None:
        raise ValueError("needs the node MiniMaxH3SigmaShift, which this ComfyUI does not have. Update ComfyUI.")
    return node.execute(model, shift, audio)[0]


SHIFTERS = {"MiniMaxH3SigmaShift": minimax_h3_shift}  # by the node that a row names
