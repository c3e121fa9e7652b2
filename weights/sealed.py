"""safetensors files that know whether they are whole: a checksum of everything in them lies in their metadata.

The format itself notices a short file only. A power cut leaves a tail of zeros, a bad disk or cable other bytes.
"""

import json
from pathlib import Path
from zlib import crc32

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from . import io

CHECKSUM = "fewstep.checksum"


class Damaged(ValueError):
    """A file that was read, and is not what was once written."""


def checksum(tensors: dict[str, Tensor], metadata: dict[str, str]) -> str:
    """CRC-32 over metadata, names, dtypes, shapes and bytes, 4 GB a second: against damage, not against malice."""
    found = crc32(json.dumps(sorted(metadata.items())).encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        found = crc32(f"{name} {tensor.dtype} {list(tensor.shape)}".encode(), found)
        found = crc32(tensor.reshape(-1).view(torch.uint8).numpy(), found)
    return f"{found:08x}"


def save(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    """io.save with the checksum of tensors on the CPU."""
    io.save(tensors, path, {**metadata, CHECKSUM: checksum(tensors, metadata)})


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """(tensors, metadata) as they were saved. Raises Damaged when they are not, ValueError when the system refuses."""
    try:
        with safe_open(str(path), framework="pt", device="cpu") as file:
            tensors = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118 (not a dict)
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise Damaged(f"{path.name} is cut short or no safetensors file ({error})") from error
    except OSError as error:
        raise ValueError(f'"{path.name}" {io.unopened(error)}') from error
    kept = metadata.pop(CHECKSUM, None)
    if kept != checksum(tensors, metadata):
        raise Damaged(f"{path.name} {'does not fit its checksum' if kept else 'has no checksum'}")
    return tensors, metadata
