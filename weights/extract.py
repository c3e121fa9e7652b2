"""A few-step model minus its base as a LoRA, from file to file, a matrix at a time.

    D = W_few-step - W_base ~ U_r S_r V_r^T,  up = U_r sqrt(S_r),  down = sqrt(S_r) V_r^T

by truncated SVD (Eckart and Young 1936: the nearest of rank r), of large matrices by the randomised one (Halko et al.
2011, algorithm 4.4 with power iterations). Either way U_r S_r V_r^T = U_r U_r^T D, so that the error
||D - D_r||^2 = ||D||^2 - ||S_r||^2 is exact.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from . import dequantise, keys, stream
from .checks import finite
from .dequantise import Weight
from .stream import Reader

EXACT = 512  # the shorter side of a matrix up to which all its singular values are found
OVER, POWERS = 16, 4  # further directions and power iterations of the randomised SVD
ENDS = (".bias", ".weight", ".scale", ".gamma")  # of what has one axis and is no scale of a quantised weight
LEAST = 0.9  # share of the modules that both files must have
Pair = tuple[Weight, Weight]


@dataclass
class Extracted:
    """The modules, how many are alike in both files, the vectors that a LoRA cannot hold, and squared norms."""

    modules: list[str] = field(default_factory=list)
    alike: int = 0
    left_out: list[str] = field(default_factory=list)
    lost: float = 0.0
    total: float = 0.0

    @property
    def error(self) -> float:
        """||D - D_r|| / ||D|| over all modules."""
        return math.sqrt(self.lost / self.total) if self.total else 0.0


def extract(
    few_step: Path,
    base: Path,
    rank: int,
    target: Path,
    metadata: Callable[..., dict[str, str]],
    *,
    dtype: torch.dtype = torch.float16,
    device: torch.device | str = "cpu",
    on_error: Callable[[float], None] = lambda error: None,
    on_bytes: Callable[[int, int], None] = lambda done, total: None,
) -> Extracted:
    """Write the LoRA in kohya's keys. metadata and on_bytes: as `stream.write` has them; on_error is told the relative
    error before metadata is asked for the last time.

    Raises ValueError where the files are not of one architecture, are alike, or hold what cannot be calculated with.
    """
    first, second = stream.read_header(few_step), stream.read_header(base)
    with Reader(first) as x, Reader(second) as y:
        pairs = paired(dequantise.weights(first, x), dequantise.weights(second, y), (few_step.name, base.name))
        changed = {module: pair for module, pair in pairs.items() if differ(*pair)}
        if not changed:
            raise ValueError(
                f'"{few_step.name}" and "{base.name}" hold the same weights, so there is nothing to extract.'
            )
        made = Extracted([*changed], len(pairs) - len(changed), vectors(first, second, x, y))
        tensors = contents(changed, rank, dtype)
        numbers = pieces(changed, rank, dtype, torch.device(device), made, torch.get_num_threads(), on_error)
        stream.write(target, tensors, stream.closing(numbers, x, y), [few_step, base], metadata, on_bytes)
    return made


def paired(few_step: dict[str, Weight], base: dict[str, Weight], names: tuple[str, str]) -> dict[str, Pair]:
    """{module: its weight in both}. A few modules may be in one file alone, such as a guidance embedding's."""
    both = [module for module in few_step if module in base]
    other = [module for module in both if few_step[module].shape != base[module].shape]
    if other or len(both) < LEAST * max(len(few_step), len(base)) or not both:
        lone = next(iter(set(few_step) ^ set(base)), "nothing")
        example = other[0] if other else lone
        raise ValueError(
            f'"{names[0]}" and "{names[1]}" are of different architectures, or name their layers differently: '
            f"{len(both) - len(other)} of {max(len(few_step), len(base))} modules fit, not {example}. Take the "
            "few-step model's own base, in the same packaging."
        )
    return {module: (few_step[module], base[module]) for module in both}


def differ(one: Weight, two: Weight) -> bool:
    """Whether any number differs; stops at the first piece that does."""
    return any(not torch.equal(one.rows(*block), two.rows(*block)) for block in one.blocks())


def vectors(first: stream.Header, second: stream.Header, x: Reader, y: Reader) -> list[str]:
    """Names of biases and norms that differ; they have one axis, which no LoRA pair reaches."""
    theirs = dequantise.network(second)
    found = []
    for name, full in dequantise.network(first).items():
        one, two = first.entries[full], second.entries.get(theirs.get(name, ""))
        if two and one.ndim == 1 and one.dtype and two.dtype and one.shape == two.shape and name.endswith(ENDS):
            found += [] if torch.equal(x.read(one).float(), y.read(two).float()) else [name]
    return found


def rank_of(weight: Weight, rank: int) -> int:
    return min(rank, weight.shape[0], weight.width)


def kohya_names(modules: Iterable[str]) -> dict[str, str]:
    """{module: its name in kohya's form}: a U-Net's by diffusers' blocks, as our own files; others as they are."""
    plain = {module: f"lora_unet_{module.replace('.', '_')}.alpha" for module in modules}
    renamed = keys.to_diffusers_blocks(dict.fromkeys(plain.values()))
    return {module: name.removesuffix(".alpha") for module, name in zip(plain, renamed)}


def contents(pairs: dict[str, Pair], rank: int, dtype: torch.dtype) -> dict[str, tuple[str, tuple[int, ...], int]]:
    """What `stream.write` must know; the alphas, which are fp32, come first."""
    names = kohya_names(pairs)
    found: dict[str, tuple[str, tuple[int, ...], int]] = {f"{name}.alpha": ("F32", (), 4) for name in names.values()}
    for module, (weight, _) in pairs.items():
        r, ones = rank_of(weight, rank), (1,) * (len(weight.shape) - 2)
        for part, shape in (("up", (weight.shape[0], r, *ones)), ("down", (r, *weight.shape[1:]))):
            size = math.prod(shape) * dtype.itemsize
            found[f"{names[module]}.lora_{part}.weight"] = (stream.NAMES[dtype], shape, size)
    return found


def pieces(
    pairs: dict[str, Pair], rank: int, dtype: torch.dtype, device: torch.device, made: Extracted, threads: int, on_error
) -> Iterator[Tensor]:
    """The numbers of `contents`, each matrix decomposed when its turn comes; `made` gathers the norms."""
    for weight, _ in pairs.values():
        yield torch.tensor(float(rank_of(weight, rank)))
    for module, (one, two) in pairs.items():
        delta = difference(one, two)
        if not finite(delta):
            raise ValueError(f"{module} holds NaN or infinite numbers in one of the files. Get it again.")
        with all_threads(threads):
            up, down, lost, total = factors(delta, rank_of(one, rank), device)
        made.lost, made.total = made.lost + lost, made.total + total
        yield cast(up, dtype, module)
        yield cast(down, dtype, module)
    on_error(made.error)


def difference(one: Weight, two: Weight) -> Tensor:
    """D [out, width] in fp32, dequantised block by block."""
    delta = torch.empty(one.shape[0], one.width)
    for first, count in one.blocks():
        torch.sub(one.rows(first, count), two.rows(first, count), out=delta[first : first + count])
    return delta


def factors(delta: Tensor, rank: int, device: torch.device) -> tuple[Tensor, Tensor, float, float]:
    """(up [out, r], down [r, width], ||D - D_r||^2, ||D||^2) on the CPU."""
    total = float(delta.double().square().sum())
    try:
        u, s, v = decomposed(delta.to(device), rank)
    except torch.cuda.OutOfMemoryError:
        u, s, v = decomposed(delta, rank)
    root = s.sqrt()
    lost = max(total - float(s.double().square().sum()), 0.0)
    return (u * root).cpu(), (root[:, None] * v.T).cpu(), lost, total


def decomposed(delta: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """U [out, r], S [r], V [width, r]."""
    if min(delta.shape) <= max(EXACT, 2 * rank):
        u, s, vh = torch.linalg.svd(delta, full_matrices=False)
        return u[:, :rank], s[:rank], vh[:rank].T
    with torch.random.fork_rng(devices=[delta.device] if delta.device.type == "cuda" else []):
        torch.manual_seed(0)  # the same file from the same two files
        u, s, v = torch.svd_lowrank(delta, q=rank + OVER, niter=POWERS)
    return u[:, :rank], s[:rank], v[:, :rank]


@contextmanager
def all_threads(count: int) -> Iterator[None]:
    """A decomposition is worth sharing out, unlike the reading and writing around it."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def cast(numbers: Tensor, dtype: torch.dtype, module: str) -> Tensor:
    made = numbers.contiguous().to(dtype)
    if not finite(made):
        raise ValueError(f"{module} holds numbers too large for {str(dtype).removeprefix('torch.')}. Choose fp32.")
    return made
