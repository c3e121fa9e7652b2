"""The host's objects on the wires, for type hints alone: nothing of the host is imported when the pack runs."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher as Model
    from comfy.sd import CLIP as Clip
    from comfy.sd import VAE as Vae
else:
    Model = Clip = Vae = object
