"""LoRA algebra on deltas: sum_i w_i (alpha_i / r_i) B_i A_i.

Ups and downs are never averaged separately: sum_i B_i A_i is one product of concatenated factors, so a weighted
sum of LoRAs of any ranks is again a LoRA, exactly. Compression to a smaller rank is the truncated SVD, with its error
reported.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from .keys import modules_of, to_diffusers_blocks

KNOWN_PARTS = ("lora_up.weight", "lora_down.weight", "alpha")


@dataclass(frozen=True)
class Delta:
    """One module's factors as the file has them, perhaps still unread: delta = scale up @ down, scale = alpha / r.

    up: [out, r] or [out, r, 1, 1]; down: [r, in] or [r, in, k, k].
    """

    up: Tensor
    down: Tensor
    scale: float = 1.0

    @property
    def rank(self) -> int:
        return self.down.shape[0]

    def dense(self) -> Tensor:
        """The delta as a matrix [out, in * k * k] in fp32."""
        return self.scale * (self.up.float().flatten(1) @ self.down.float().flatten(1))


def deltas(tensors: dict[str, Tensor], name: str = "LoRA") -> dict[str, Delta]:
    """{module: delta} of a file in kohya's form. Without alpha the scale is 1.

    Raises ValueError for parts that are no plain LoRA (DoRA, Tucker, full differences): they cannot be added exactly.
    """
    found = {}
    for module, keys in modules_of(tensors := to_diffusers_blocks(tensors)).items():
        parts = {key.removeprefix(f"{module}."): tensors[key] for key in keys}
        strange = sorted(set(parts) - set(KNOWN_PARTS))
        if strange or not {"lora_up.weight", "lora_down.weight"} <= set(parts):
            raise ValueError(
                f'"{name}": {module} holds {", ".join(strange or sorted(parts))}, which is no plain LoRA pair '
                "(up, down, alpha). Only plain LoRAs can be merged exactly."
            )
        up, down = parts["lora_up.weight"], parts["lora_down.weight"]
        found[module] = Delta(up, down, float(parts["alpha"]) / down.shape[0] if "alpha" in parts else 1.0)
    return found


def pieces(parts: list[tuple[dict[str, Delta], float]]) -> dict[str, list[Delta]]:
    """What sum_i w_i delta_i consists of, per module, the weight in the scale. Zero where a file lacks the module.

    Raises ValueError when the files share no module, or when a module has different shapes in them.
    """
    used = [(file, weight) for file, weight in parts if weight != 0]
    if len(parts) > 1 and not set.intersection(*(set(file) for file, _ in parts)):
        examples = " and ".join(next(iter(file), "nothing") for file, _ in parts)
        raise ValueError(
            f"The LoRAs have no module in common ({examples}): they are for different models, or name their blocks "
            "differently (input_blocks against down_blocks)."
        )
    found = {}
    for module in sorted({module for file, _ in used for module in file}):
        here = [(file[module], weight) for file, weight in used if module in file]
        shapes = {(tuple(d.up.shape[:1]), tuple(d.up.shape[2:]), tuple(d.down.shape[1:])) for d, _ in here}
        if len(shapes) > 1:
            raise ValueError(f"{module} has different shapes in the LoRAs: {shapes}. They are for different models.")
        found[module] = [Delta(delta.up, delta.down, weight * delta.scale) for delta, weight in here]
    return found


def common_scale(parts: list[Delta]) -> float:
    """s = max |s_i|: with it before the sum, the factors of the largest part stay as they are, to the bit."""
    return max(abs(part.scale) for part in parts) or 1.0


def joined(parts: list[Delta]) -> Delta:
    """sum_i s_i B_i A_i = s [s_1/s B_1, s_2/s B_2, ...] [A_1; A_2; ...] in fp32: ranks side by side, nothing lost."""
    scale = common_scale(parts)
    up = torch.cat([part.up.float() * (part.scale / scale) for part in parts], dim=1)
    return Delta(up, torch.cat([part.down.float() for part in parts]), scale)


def weighted_sum(parts: list[tuple[dict[str, Delta], float]]) -> dict[str, Delta]:
    """sum_i w_i delta_i per module, exact. Raises ValueError where `pieces` does."""
    return {module: joined(found) for module, found in pieces(parts).items()}


def interpolate(a: dict[str, Delta], b: dict[str, Delta], weight: float) -> dict[str, Delta]:
    """theta = lambda A + (1 - lambda) B; lambda may lie beyond 0..1. Source: SwiftBrush v2, section 4.4."""
    return weighted_sum([(a, weight), (b, 1 - weight)])


def compress(delta: Delta, rank: int) -> tuple[Delta, float]:
    """The best rank-r approximation and its relative error ||D - D_r|| / ||D|| (Frobenius).

    The SVD is of the small core R_up R_down^T between the QR factors, never of the dense matrix.
    """
    q_up, r_up = torch.linalg.qr(delta.scale * delta.up.flatten(1))
    q_down, r_down = torch.linalg.qr(delta.down.flatten(1).T)
    u, s, vt = torch.linalg.svd(r_up @ r_down.T)
    error = float(s[rank:].square().sum().sqrt() / s.square().sum().sqrt().clamp(min=1e-30))
    rank = min(rank, len(s))
    root = s[:rank].sqrt()
    up, down = (q_up @ u[:, :rank]) * root, root[:, None] * (vt[:rank] @ q_down.T)
    return Delta(up.reshape(-1, rank, *delta.up.shape[2:]), down.reshape(rank, *delta.down.shape[1:])), error


def factored(dense: Tensor, rank: int) -> tuple[Delta, float]:
    """A whole difference [out, in] or [out, in, k, k] as a LoRA of at most that rank, and its relative error.

    By the randomised SVD (Halko et al. 2011) with fixed numbers: near the best one of the rank, in seconds where the
    exact one of an SDXL layer takes minutes.
    """
    matrix = dense.float().flatten(1)
    rank = min(rank, *matrix.shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        u, s, v = torch.svd_lowrank(matrix, q=min(rank + 8, *matrix.shape), niter=4)
    root = s[:rank].sqrt()
    up, down = u[:, :rank] * root, root[:, None] * v[:, :rank].T
    error = float((matrix - up @ down).norm() / matrix.norm().clamp(min=1e-30))
    tail = dense.shape[2:]
    return Delta(up.reshape(-1, rank, *(1 for _ in tail)), down.reshape(rank, -1, *tail)), error


def compress_all(summed: dict[str, Delta], rank: int) -> tuple[dict[str, Delta], float]:
    """Every module to at most `rank`, and the error relative to the whole LoRA's norm."""
    smaller, lost, whole = {}, 0.0, 0.0
    for module, delta in summed.items():
        norm = float(delta.dense().square().sum())
        smaller[module], error = compress(delta, rank) if delta.rank > rank else (delta, 0.0)
        lost, whole = lost + error**2 * norm, whole + norm
    return smaller, (lost / max(whole, 1e-30)) ** 0.5


def to_file(merged: dict[str, Delta], dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Kohya's keys; alpha = scale x rank, which readers divide by the rank again."""
    file = {}
    for module, delta in merged.items():
        file[f"{module}.lora_up.weight"] = delta.up.to(dtype)
        file[f"{module}.lora_down.weight"] = delta.down.to(dtype)
        file[f"{module}.alpha"] = torch.tensor(delta.scale * delta.rank)
    return file
