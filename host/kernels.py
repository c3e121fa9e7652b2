"""The functions that the host's networks call for their heavy parts, exchanged for such as have a backward pass."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch

ATTENTION = ("optimized_attention", "optimized_attention_masked")
FUSED = ("rms_", "apply_rope")  # how the names of the host's kernels for norms and rotations begin


@contextmanager
def differentiable(attention: Callable) -> Iterator[None]:
    """Every network of the host calls this function for its attention, and torch's operations for norms and rotations.

    attention: (q, k, v, heads, ...) -> output, in the host's signature.
    """
    with exchanged([*by_name(attention), *in_torch()]):
        yield


@contextmanager
def exchanged(functions: list[tuple]) -> Iterator[None]:
    """functions: (module, name there, what stands there meanwhile)."""
    before = [(module, name, vars(module)[name]) for module, name, _ in functions]
    try:
        for module, name, function in functions:
            setattr(module, name, function)
        yield
    finally:
        for module, name, kept in before:
            setattr(module, name, kept)


@contextmanager
def autocast_on_meta() -> Iterator[None]:
    """A network may turn autocast off for a part of itself on tensors without memory too, for which torch has none."""
    autocast = torch.autocast

    def run(device_type: str, *args, **options):
        return nullcontext() if device_type == "meta" else autocast(device_type, *args, **options)

    with exchanged([(torch, "autocast", run)]):
        yield


def by_name(attention: Callable) -> list[tuple]:
    """(module, name, the function) wherever the host's attention is; transformers' modules import theirs by name."""
    from comfy.ldm.modules import attention as hosts

    chosen = [(name, vars(hosts)[name]) for name in ATTENTION if name in vars(hosts)]
    modules = [module for name, module in list(sys.modules.items()) if name.startswith("comfy.ldm.")]
    return [  # a module may have its own
        (module, name, attention) for module in modules for name, kept in chosen if vars(module).get(name) is kept
    ]


def in_torch() -> list[tuple]:
    """(comfy_kitchen, name, its own function in torch) of each fused kernel, none of which has a backward pass; hosts
    without that library have no such kernels."""
    try:
        import comfy_kitchen
        from comfy_kitchen.backends import eager
    except ImportError:
        return []
    return [
        (comfy_kitchen, name, function)
        for name, function in vars(eager).items()
        if name.startswith(FUSED) and not name.endswith("_") and name in vars(comfy_kitchen)  # in place: name_
    ]
