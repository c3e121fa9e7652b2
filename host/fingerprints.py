"""Short hashes by which a run knows its model again, whatever device or precision it is trained in."""

import hashlib
from collections.abc import Iterator

from torch import Tensor, nn

from .sockets import Model

PLAIN = (bool, int, float, str, type(None))
RANK = {"weight": 0, "bias": 1}
DEPTH = 3  # objects within objects that are looked at


def of_model(model: Model) -> str:
    """Of a MODEL as wired: a sample of every weight of its network, of every patch that lies on it, and what the
    objects are that stand in place of its own (a ModelSampling node's says whether the network predicts eps or v)."""
    digest = hashlib.blake2b(digest_size=8)
    for name, parameter in in_order(model.model.diffusion_model):
        kept = model.backup.get(f"diffusion_model.{name}")  # where a clone's patches are on the weights just now
        digest.update(name.encode() + sample_of(parameter if kept is None else getattr(kept, "weight", kept)))
    for key, patches in sorted(model.patches.items(), key=lambda item: str(item[0])):
        digest.update(f"{key}{[(patch[0], patch[2]) for patch in patches]}".encode())
        for tensor in (tensor for patch in patches for tensor in tensors_in(patch[1])):
            digest.update(sample_of(tensor))
    for name, patch in sorted(model.object_patches.items()):
        digest.update(name.encode())
        for part in said_by(patch):
            digest.update(part)
    return digest.hexdigest()


def in_order(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """named_parameters, a layer's weight before its bias: a host that streams registers them as the file has them."""
    for prefix, part in network.named_modules():
        own = sorted(part.named_parameters(recurse=False), key=lambda item: RANK.get(item[0], len(RANK)))
        yield from ((f"{prefix}.{name}" if prefix else name, parameter) for name, parameter in own)


def of_network(network: nn.Module) -> str:
    """Of a network by itself (a VAE's): a sample of every weight and buffer."""
    digest = hashlib.blake2b(digest_size=8)
    for name, tensor in network.state_dict().items():
        digest.update(name.encode() + sample_of(tensor))
    return digest.hexdigest()


def sample_of(tensor: Tensor) -> bytes:
    """A tensor's shape and 16 of its values."""
    # .data, not detach(): torch refuses views of an inference-mode weight that was moved outside that mode
    some = tensor.data.flatten()[:: max(tensor.numel() // 16, 1)][:16].float().cpu()
    return f"{tuple(tensor.shape)}".encode() + some.numpy().tobytes()


def tensors_in(patch) -> list[Tensor]:
    """The tensors of a patch of any kind: nested tuples, or an object that holds its weights."""
    if isinstance(patch, Tensor):
        return [patch]
    parts = getattr(patch, "weights", patch)
    return [t for part in parts for t in tensors_in(part)] if isinstance(parts, tuple | list) else []


def said_by(value, depth: int = DEPTH) -> Iterator[bytes]:
    """What tells an object from another of its kind: its classes, numbers, words and tensors; never its address."""
    if isinstance(value, Tensor):
        yield sample_of(value)
    elif isinstance(value, PLAIN):
        yield repr(value).encode()
    elif isinstance(value, tuple | list):
        for part in value:
            yield from said_by(part, depth)
    else:
        name = getattr(value, "__qualname__", "")  # a function's
        yield f"{name}{[kind.__name__ for kind in type(value).__mro__]}".encode()
        for key, part in sorted(parts_of(value).items()) if depth else ():
            yield key.encode()
            yield from said_by(part, depth - 1)


def parts_of(value) -> dict[str, object]:
    """A dict's entries; a module's tensors; an object's public attributes; what a function holds of its outside."""
    if isinstance(value, dict):
        return {str(key): part for key, part in value.items()}
    tensors = {**dict(value.named_parameters()), **dict(value.named_buffers())} if isinstance(value, nn.Module) else {}
    public = {k: v for k, v in getattr(value, "__dict__", {}).items() if not k.startswith("_") and k != "training"}
    closure = {f"cell {i}": cell.cell_contents for i, cell in enumerate(getattr(value, "__closure__", None) or ())}
    return {**tensors, **public, **closure}
