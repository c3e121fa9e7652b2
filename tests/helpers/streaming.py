"""The host's dynamic VRAM on a machine without a GPU: its own patcher, with stand-ins for memory outside torch.

What the class does with weights, patches, backups and clones is the host's code. The stand-ins fail when they are
copied: the real ones would free their memory twice. On a CPU the host computes with the plain weights of a staged
layer, so pictures of a streamed MODEL lack its LoRAs here; a clone with disable_dynamic has them.
"""

import pytest
from safetensors.torch import load_file


class Handle:
    """Stands for comfy-aimdo's HostBuffer and ModelVBAR."""

    size = 0

    def __init__(self, *_, **__):
        pass

    def __deepcopy__(self, memo):
        raise AssertionError("a handle on the host's own memory was copied")

    def alloc(self, size: int) -> tuple:
        return self, 0, size

    def free_memory(self, size: int) -> int:
        return 0

    def loaded_size(self) -> int:
        return 0

    def prioritize(self, *_) -> None:
        pass

    truncate = unpin = prioritize


def switch_on(patch: pytest.MonkeyPatch) -> None:
    """Every MODEL, CLIP and VAE loaded from now on is streamed. Skips on hosts that cannot."""
    from comfy import model_patcher

    if not hasattr(model_patcher, "ModelPatcherDynamic"):
        pytest.skip("this host streams no weights")
    from comfy import memory_management, utils
    from comfy_aimdo import host_buffer, model_vbar

    class Streamed(model_patcher.ModelPatcherDynamic):
        def __new__(cls, *_, **__):
            return object.__new__(cls)  # the host's own makes a plain one for the CPU

        def _vbar_get(self, create=False):
            return self.model.dynamic_vbars.setdefault(self.load_device, Handle())

        def partially_unload(self, device_to, memory_to_free=0, force_patch_weights=False):
            return self.restore_loaded_backups()  # the host's own, less its refusal of a CPU

    patch.setattr(host_buffer, "HostBuffer", Handle)
    patch.setattr(model_vbar, "vbars_analyze", lambda *_: 0)
    patch.setattr(utils, "load_safetensors", lambda path: (load_file(path), {}))  # the host's maps it by itself
    patch.setattr(memory_management, "aimdo_enabled", True)
    patch.setattr(model_patcher, "CoreModelPatcher", Streamed)


def staged(network) -> int:
    """How many layers the host has staged."""
    return sum("_v" in vars(part) for part in network.modules())
