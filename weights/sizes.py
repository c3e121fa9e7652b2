"""The shape of the delta of a LoRA file's module, and whether its parts go together; from shapes alone.

LoRA     up down, or a full difference
LoHa     (w1_a w1_b) * (w2_a w2_b), elementwise       Hyeon-Woo et al. 2022, "FedPara", proposition 2
LoKr     kron(w1, w2), each whole or a product a b    Yeh et al. 2023, "LyCORIS", section 3
Tucker   sum_ij t_ijkl a_ip b_jr: a kernel [p, r, k, l] with the core t between two matrices, in any of the three
"""

import math

import torch
from torch import Tensor

UP, DOWN, MID = "lora_up.weight", "lora_down.weight", "lora_mid.weight"


def fits(parts: dict, weight: tuple[int, ...]) -> bool:
    """Whether the delta is one for a weight of that shape. A full difference must have it; the host lets a product be
    [rows, all the rest]. Kinds that are not above count as fitting."""
    delta = shape_of(parts)
    if delta is None:
        return True
    if "diff" in parts or len(delta) == len(weight):
        return delta == tuple(weight)
    return (delta[0], math.prod(delta[1:])) == (weight[0], math.prod(weight[1:]))


def shape_of(parts: dict) -> tuple[int, ...] | None:
    """parts: {"lora_up.weight": anything with a shape, ...}; None for kinds that are not above.

    Raises ValueError when a part of LoHa, LoKr or Tucker is missing or does not fit the others.
    """
    shapes = {part: tuple(tensor.shape) for part, tensor in parts.items() if part != "alpha"}
    if "diff" in shapes:
        return shapes["diff"]
    if UP in shapes and DOWN in shapes and MID not in shapes:
        return shapes[UP][:1] + shapes[DOWN][1:]
    delta = next((kind for start, kind in KINDS.items() if any(part.startswith(start) for part in shapes)), None)
    try:
        return delta and delta({part: torch.empty(shape, device="meta") for part, shape in shapes.items()})
    except KeyError as missing:
        raise ValueError(f"has no {missing.args[0]}: the file is incomplete. Get it again.") from missing
    except (RuntimeError, IndexError) as error:
        listed = " x ".join(map(str, shapes.values()))
        raise ValueError(f"has {listed}, which do not go together. Get the file again.") from error


def loha(parts: dict[str, Tensor]) -> tuple[int, ...]:
    core = any(part.startswith("hada_t") for part in parts)
    first, second = (product(parts, f"hada_w{i}", f"hada_t{i}" if core else None) for i in (1, 2))
    return tuple((first * second).shape)


def lokr(parts: dict[str, Tensor]) -> tuple[int, ...]:
    core = "lokr_t2" if "lokr_t2" in parts else None
    first = parts["lokr_w1"] if "lokr_w1" in parts else product(parts, "lokr_w1")
    second = parts["lokr_w2"] if "lokr_w2" in parts else product(parts, "lokr_w2", core)
    first = first.reshape(*first.shape, *[1] * (second.ndim - first.ndim))
    return tuple(a * b for a, b in zip(first.shape, second.shape, strict=True))


def locon(parts: dict[str, Tensor]) -> tuple[int, ...]:
    return tuple(tucker(parts[MID], parts[UP].flatten(1).T, parts[DOWN].flatten(1)).shape)


def product(parts: dict[str, Tensor], name: str, core: str | None = None) -> Tensor:
    a, b = parts[f"{name}_a"], parts[f"{name}_b"]
    return torch.mm(a, b) if core is None else tucker(parts[core], a, b)


def tucker(core: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.einsum("ijkl,ip,jr->prkl", core, a, b)


KINDS = {"hada_": loha, "lokr_": lokr, MID: locon}
