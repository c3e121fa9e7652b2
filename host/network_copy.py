"""A network of the host copied without what the host keeps on its layers while it streams their weights.

Hosts with dynamic VRAM hang handles of memory outside torch on every layer that they have staged (comfy-aimdo's pages
and pinned buffers). Their owners free them when they are collected, so a copied handle frees the same memory twice.
"""

import copy

from torch import nn

STAGED = (
    "_v",  # its pages
    "_v_block",
    "_v_signature",
    "_v_weight",  # views of them
    "_v_bias",
    "_pins",
    "_pin_state",
    "_prefetch",
    "weight_lowvram_function",  # LoRAs that the host adds when it has the weight on the device
    "bias_lowvram_function",
    "dynamic_vbars",  # on the whole network: a VAE's
    "dynamic_pins",
    "dynamic_patchers",
)

PLAIN = (int, float, str, bytes, type(None))  # no handles: nothing is freed with them


def copied(module: nn.Module, memo: dict | None = None) -> nn.Module:
    """A deep copy; memo: as copy.deepcopy takes it, {id of what is in the original: what stands for it in the copy}."""
    kept = [vars(part)[name] for part in module.modules() for name in STAGED if name in vars(part)]
    # A small number is one object wherever it stands: a signature of 4 must not take a layer's in_features of 4 along.
    handles = [thing for thing in kept if not isinstance(thing, PLAIN)]
    clone = copy.deepcopy(module, {id(thing): None for thing in handles} | (memo or {}))
    for part in clone.modules():
        for name in STAGED:
            vars(part).pop(name, None)
    return clone
