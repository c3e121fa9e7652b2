"""Pictures with captions: a folder of them, or webdataset shards; and how each is fitted to its size."""

import hashlib
import json
from io import BytesIO
from math import ceil, log
from pathlib import Path

import numpy
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ...training.checks import require
from .. import folders
from ..architectures import SIZES
from ..progress import throw_if_cancelled
from . import masks, pictures
from .shards import Shards

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap the sides
ORIENTATION = 0x0112


class Folder:
    """Pictures of one folder: the caption of name.png is name.txt, else the file's name, `_` read as a blank."""

    def __init__(self, folder: Path):
        found = [path for path in folders.files_of(folder) if not masks.is_mask(path)]
        self.files = [path for path in found if path.suffix.lower() in PICTURES]
        texts = sum(path.suffix.lower() == ".txt" for path in found)
        without = f" but {texts} captions without one" if texts else ""
        require(bool(self.files), f"FewStepDataset: {folder.name} holds no pictures ({', '.join(PICTURES)}){without}.")
        self.captions = [caption_of(path) for path in self.files]

    def name(self, index: int) -> str:
        return self.files[index].name

    def read(self, index: int) -> bytes:
        return pictures.read_limited(self.files[index], pictures.LARGEST_FILE)


def open_source(path: Path) -> Folder | Shards:
    """What lies in a folder: pictures, or .tar shards. A single shard may be named too."""
    require(
        path.exists(), f"FewStepDataset: there is no folder {path.name}. Put the pictures into the host's input folder."
    )
    if path.is_file():
        require(path.suffix.lower() == ".tar", f"FewStepDataset: {path.name} is no folder and no .tar shard.")
        return Shards([path], PICTURES)
    require(path.is_dir(), f"FewStepDataset: {path.name} is neither a folder nor a file.")
    files = folders.files_of(path)
    shards = [found for found in files if found.suffix.lower() == ".tar"]
    loose = any(found.suffix.lower() in PICTURES for found in files)
    require(
        not (shards and loose),
        f"FewStepDataset: {path.name} holds both pictures and .tar shards. Give each kind a folder of its own.",
    )
    return Shards(shards, PICTURES) if shards else Folder(path)


def stamp_of(path: Path) -> str:
    """A short hash of the names, sizes and times of the files that open_source would look at."""
    files = [path] if path.is_file() else folders.files_of(path)
    kept = [file for file in files if file.suffix.lower() in (*PICTURES, ".txt", ".tar")]
    seen = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in kept]
    return hashlib.blake2b(json.dumps(seen).encode(), digest_size=8).hexdigest()


def caption_of(picture: Path) -> str:
    text = picture.with_suffix(".txt")
    return pictures.read_text(text).strip() if folders.is_readable(text) else picture.stem.replace("_", " ")


def opened(source: Folder | Shards, index: int) -> Image.Image:
    """The picture with its header read, upright only after exif_transpose. Raises what pictures.UNREADABLE lists."""
    return pictures.opened(BytesIO(source.read(index)))


def unreadable(source: Folder | Shards, index: int, error: Exception) -> ValueError:
    return ValueError(
        f"FewStepDataset: {source.name(index)} cannot be read as a picture ({error}). Remove or replace it."
    )


def picture_size(source: Folder | Shards, index: int) -> tuple[int, int]:
    """(width, height) of an upright picture, from its header alone."""
    try:
        with opened(source, index) as picture:
            turned = picture.getexif().get(ORIENTATION) in SIDEWAYS
            return picture.size[::-1] if turned else picture.size
    except pictures.UNREADABLE as error:
        raise unreadable(source, index, error) from error


def read_picture(source: Folder | Shards, index: int, width: int, height: int) -> Tensor:
    """[1, h, w, 3] in 0..1: transparent grounds become white, the middle is cropped to the wanted shape."""
    try:
        with opened(source, index) as image:
            picture = ImageOps.exif_transpose(image).convert("RGBA")
    except pictures.UNREADABLE as error:
        raise unreadable(source, index, error) from error
    flat = Image.new("RGBA", picture.size, "white")
    flat.alpha_composite(picture)
    fitted = ImageOps.fit(flat.convert("RGB"), (width, height), Image.Resampling.LANCZOS)
    return torch.from_numpy(numpy.asarray(fitted, dtype=numpy.float32) / 255)[None]


def bucket_sizes(width: int, height: int, step: int) -> list[tuple[int, int]]:
    """(w, h) in multiples of step, each as near below the area of width x height as they come.

    Sides go from half to twice the square's: up to 4:1 and 1:4. step 0: the one size itself.
    """
    if not step:
        return [(width, height)]
    area, side = width * height, (width * height) ** 0.5
    sides = range(max(ceil(side / 2 / step), 1) * step, int(2 * side) + 1, step)
    sizes = [(w, int(area / w) // step * step) for w in sides]
    return sorted({size for w, h in sizes if h for size in ((w, h), (h, w))})


def fit(size: tuple[int, int], buckets: list[tuple[int, int]]) -> tuple[int, ...]:
    """SIZES of a picture: its own size, where the crop begins after resizing, and the bucket nearest in shape.

    SDXL (Podell et al. 2023, 2.2): the original size and the crop's corner are conditions, beside the target size.
    """
    width, height = size
    target = min(buckets, key=lambda bucket: (abs(log(bucket[0] * height / (bucket[1] * width))), bucket))
    scale = max(target[0] / width, target[1] / height)
    crop = (round((width * scale - target[0]) / 2), round((height * scale - target[1]) / 2))
    return (width, height, *crop, *target)


def fits_of(source: Folder | Shards, buckets: list[tuple[int, int]]) -> Tensor:
    """[n, 6] int32: SIZES of every picture."""
    rows = numpy.empty((len(source.captions), len(SIZES)), dtype=numpy.int32)
    for index in range(len(rows)):
        throw_if_cancelled()
        rows[index] = fit(picture_size(source, index), buckets)
    return torch.from_numpy(rows)
