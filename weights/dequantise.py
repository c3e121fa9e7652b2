"""Weights of a file in fp32, some rows at a time, quantised ones too: scaled fp8, and int8 with rotated groups.

The formats are those of the host's files: `weight_scale` (earlier `scale_weight`) beside the weight, one number or one
a row, and JSON in `comfy_quant` or in the header's `_quantization_metadata`. A rotated group of g inputs is multiplied
by the symmetric orthogonal H = H4 x H4 x ... / sqrt(g) (ConvRot; read in comfy_kitchen, "regular Hadamard"), so that
multiplying by H once more undoes it.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from . import stream
from .stream import Header, Reader, Stored

PREFIXES = ("model.diffusion_model.", "diffusion_model.")
SCALES = ("weight_scale", "scale_weight")
PLAIN = (None, "float8_e4m3fn", "float8_e5m2", "int8_tensorwise")  # formats that one multiplication undoes
H4 = ((1, 1, 1, -1), (1, 1, -1, 1), (1, -1, 1, 1), (-1, 1, 1, 1))


@dataclass(frozen=True)
class Weight:
    """A tensor of a file, unread. scale: [] or [out, 1], None for 1; group: inputs that were rotated together, or 0."""

    entry: Stored
    reader: Reader
    scale: Tensor | None = None
    group: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        return self.entry.shape

    @property
    def width(self) -> int:
        """Numbers in a row."""
        return math.prod(self.shape[1:])

    def rows(self, first: int, count: int) -> Tensor:
        """[count, width] in fp32, good for ever."""
        numbers = self.reader.read(self.entry, first * self.width, count * self.width)
        numbers = numbers.view(torch.int8) if self.entry.kind == "I8" else numbers
        found = numbers.view(count, self.width).float()
        if self.scale is not None:
            found = found * (self.scale if self.scale.ndim == 0 else self.scale[first : first + count])
        return rotated(found, self.group) if self.group else found

    def blocks(self) -> Iterator[tuple[int, int]]:
        """(first row, number of rows) of pieces of at most CHUNK numbers."""
        some = max(1, stream.CHUNK // self.width)
        return ((first, min(some, self.shape[0] - first)) for first in range(0, self.shape[0], some))


def rotated(rows: Tensor, group: int) -> Tensor:
    """Each group of inputs times H; its own inverse. group: a power of 4."""
    h4 = torch.tensor(H4, dtype=rows.dtype) / 2
    found = rows
    inner = group // 4
    while inner >= 1:  # H is a Kronecker product: one factor an axis
        found = torch.einsum("...ai,ab->...bi", found.reshape(*rows.shape[:-1], -1, 4, inner), h4)
        inner //= 4
    return found.reshape(rows.shape)


def network(header: Header) -> dict[str, str]:
    """{name without the prefix: name in the file} of the diffusion network's tensors; a checkpoint has others too."""
    prefix = next((one for one in PREFIXES if any(name.startswith(one) for name in header.entries)), "")
    return {name.removeprefix(prefix): name for name in header.entries if name.startswith(prefix)}


def weights(header: Header, reader: Reader) -> dict[str, Weight]:
    """{module: its weight} of every module whose weight has two axes or more. ValueError: an unknown format."""
    names, formats = network(header), json.loads(header.metadata.get("_quantization_metadata", "{}")).get("layers", {})
    found = {}
    for name, full in names.items():
        module = name.removesuffix(".weight")
        if name.endswith(".weight") and header.entries[full].ndim >= 2:
            given = formats.get(full.removesuffix(".weight")) or formats.get(module) or {}
            found[module] = weight(header, reader, full.removesuffix("weight"), given)
    return found


def weight(header: Header, reader: Reader, stem: str, given: dict) -> Weight:
    """One of them; stem: its name up to "weight"."""
    entry, entries = header.entries[f"{stem}weight"], header.entries
    if f"{stem}comfy_quant" in entries:
        given = json.loads(reader.read(entries[f"{stem}comfy_quant"]).numpy().tobytes())
    kind = given.get("format")
    if kind not in PLAIN or not (entry.dtype or entry.kind == "I8"):
        raise ValueError(
            f'"{header.path.name}": {stem}weight is quantised as {kind or entry.kind}, which is not undone here. '
            "Take the file in bf16, fp16, fp8 or int8."
        )
    scale = next((entries[stem + name] for name in SCALES if stem + name in entries), None)
    if scale is None and entry.kind == "I8":
        raise ValueError(f'"{header.path.name}": {stem}weight is int8 without its scale. Get the file again.')
    params = {**(given.get("params") or {}), **given}
    group = int(params.get("convrot_groupsize", 256)) if params.get("convrot") else 0
    return Weight(entry, reader, None if scale is None else scale_of(reader, scale, entry, stem), checked(group, entry))


def scale_of(reader: Reader, entry: Stored, owner: Stored, stem: str) -> Tensor:
    """[] or [out, 1] in fp32."""
    found = reader.read(entry).clone().float().flatten()
    if len(found) == 1:
        return found[0]
    if len(found) != owner.shape[0]:
        raise ValueError(f"{stem}weight has {len(found)} scales, not 1 or {owner.shape[0]}. Take another file.")
    return found[:, None]


def checked(group: int, entry: Stored) -> int:
    if group and (group & (group - 1) or group.bit_length() % 2 == 0 or math.prod(entry.shape[1:]) % group):
        raise ValueError(f"a weight of {list(entry.shape)} is rotated in groups of {group}, which cannot be.")
    return group
