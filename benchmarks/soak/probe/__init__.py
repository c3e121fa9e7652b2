"""A custom node for the soak's server: what trainings could leave behind in its process, as JSON."""

import gc
import json
import sys
import threading
import zlib
from pathlib import Path

import torch
from comfy import model_management
from torch import nn

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks")
MODULES = ("comfy.ldm.modules.attention", "comfy.model_base", "comfy.model_management", "comfy.ops", "comfy.samplers")


def checksum(networks: dict[str, nn.Module]) -> int:
    """Of all weights' bytes."""
    found = 0
    for net in networks.values():
        for weight in net.state_dict().values():
            found = zlib.crc32(weight.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes(), found)
    return found


def lasting(model, networks: dict[str, nn.Module]) -> dict:
    """What must be the same after every training."""
    parts = [part for net in networks.values() for part in net.modules()]
    weights = [weight for net in networks.values() for weight in net.parameters()]
    functions = {f"{n}.{k}": id(v) for n in MODULES for k, v in vars(sys.modules[n]).items() if callable(v)}
    return {
        "grad mode": [torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled()],
        "deterministic": [
            torch.are_deterministic_algorithms_enabled(),
            torch.backends.cudnn.deterministic,
            torch.backends.cudnn.benchmark,
            torch.backends.cuda.matmul.allow_tf32,
        ],
        "torch's threads": [torch.get_num_threads(), torch.get_num_interop_threads()],
        "default dtype": str(torch.get_default_dtype()),
        "random numbers": zlib.crc32(torch.get_rng_state().numpy().tobytes()),
        "training flag": getattr(model_management, "in_training", None),
        "MODEL": [len(model.patches), sorted(model.object_patches), len(model.backup)],
        "hooks": sum(len(getattr(part, kind)) for part in parts for kind in HOOKS),
        "own forwards": sum("forward" in vars(part) for part in parts),
        "training mode": sum(part.training for part in parts),
        "gradients": [sum(w.requires_grad for w in weights), sum(w.grad is not None for w in weights)],
        "weights": checksum(networks),
        "the host's functions": zlib.crc32(json.dumps(functions, sort_keys=True).encode()),
    }


class SoakProbe:
    CATEGORY = "FewStep/soak"
    FUNCTION = "look"
    OUTPUT_NODE = True
    RETURN_TYPES = ()

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {"model": ("MODEL",), "clip": ("CLIP",), "vae": ("VAE",), "number": ("INT", {"default": 0})}
        }

    def look(self, model, clip, vae, number):
        gc.collect()
        networks = {"model": model.model, "clip": clip.cond_stage_model, "vae": vae.first_stage_model}
        status = Path("/proc/self/status")
        lines = status.read_text().splitlines() if status.exists() else []
        found = {
            "same": lasting(model, networks),
            "U-Nets": sum(type(one).__name__ == "UNetModel" for one in gc.get_objects() if isinstance(one, nn.Module)),
            "threads": threading.active_count(),
            "MB": next((int(line.split()[1]) / 1e3 for line in lines if line.startswith("RssAnon")), 0.0),
        }
        return {"ui": {"text": [json.dumps(found)]}}


NODE_CLASS_MAPPINGS = {"SoakProbe": SoakProbe}
