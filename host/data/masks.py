"""Masks beside the pictures of a folder: name.mask.png, or the picture's own alpha channel.

In name.mask.png (grey or palette, as large as the picture) 0 is the ground and every other value one thing. The lines
of name.mask.txt are their classes in the order of the values, each a number or a name the segmenter knows; without it,
and for an alpha channel, the class is 1.
"""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy
import torch
from PIL import Image, ImageOps

from ...training.checks import require
from ...training.perception import Instances
from .. import folders
from . import pictures as files

ENDING = ".mask"
NO_MASKS = (
    "FewStepDataset: no picture of the folder has a mask. Put name.mask.png beside name.png (0 is the ground, every "
    "other value one thing), or give pictures with an alpha channel."
)
OPAQUE = 128  # alpha from here on belongs to the thing


def is_mask(path: Path) -> bool:
    """Whether a file of a picture folder is a mask, not a picture."""
    return path.stem.endswith(ENDING)


def reader(pictures: list[Path]) -> Callable[[int, int, int], Instances]:
    """(index, height, width) -> the picture's Instances, cut as its pixels are.

    The first call raises ValueError when no picture at all has a mask.
    """
    return partial(instances, pictures, cache(lambda: require(any(map(has_mask, pictures)), NO_MASKS)))


def has_mask(picture: Path) -> bool:
    if folders.is_readable(beside(picture)):
        return True
    with opened(picture) as image:
        return has_alpha(image)


def beside(picture: Path) -> Path:
    return picture.with_suffix(f"{ENDING}.png")


def has_alpha(picture: Image.Image) -> bool:
    return "A" in picture.getbands() or "transparency" in picture.info


def opened(path: Path, whole: bool = False) -> Image.Image:
    """The picture with its header read, and with `whole` its pixels too."""
    try:
        picture = files.opened(path)
        if whole:
            picture.load()
        return picture
    except files.UNREADABLE as error:
        raise ValueError(f"FewStepDataset: {path.name} cannot be read as a picture ({files.said(error)}).") from error


def upright(path: Path) -> Image.Image:
    """The picture with its pixels, turned as its EXIF says."""
    with opened(path, whole=True) as found:
        try:
            return ImageOps.exif_transpose(found).copy()
        except files.UNREADABLE as error:
            raise ValueError(
                f"FewStepDataset: {path.name} cannot be read as a picture ({files.said(error)})."
            ) from error


def instances(pictures: list[Path], check: Callable[[], None], index: int, height: int, width: int) -> Instances:
    """The things of one picture that are left after the middle is cropped to the wanted shape; maybe none."""
    check()
    picture = pictures[index]
    ids, labels = from_file(picture) if folders.is_readable(beside(picture)) else from_alpha(picture)
    values = numpy.unique(numpy.asarray(ids))
    values = values[values > 0]
    labels = labels or ["1"] * len(values)
    require(
        len(labels) == len(values),
        f"FewStepDataset: {beside(picture).stem}.txt has {len(labels)} lines, but {beside(picture).name} has "
        f"{len(values)} things (values above 0). Write one class a line, in the order of the values.",
    )
    seen = numpy.asarray(ImageOps.fit(ids, (width, height), Image.Resampling.NEAREST))
    kept = [(seen == value, label) for value, label in zip(values, labels) if (seen == value).any()]
    masks = numpy.stack([mask for mask, _ in kept]) if kept else numpy.zeros((0, height, width), bool)
    return Instances(torch.from_numpy(masks), tuple(label for _, label in kept))


def from_file(picture: Path) -> tuple[Image.Image, list[str]]:
    """(name.mask.png as values, the lines of name.mask.txt)."""
    file, classes = beside(picture), beside(picture).with_suffix(".txt")
    with opened(file, whole=True) as mask:
        sizes = mask.size, upright(picture).size
        require(
            mask.mode in ("1", "L", "P"),
            f"FewStepDataset: {file.name} has colours ({mask.mode}). It must be grey or have a palette.",
        )
        ids = mask.convert("L") if mask.mode == "1" else Image.fromarray(numpy.asarray(mask))
    require(
        sizes[0] == sizes[1],
        f"FewStepDataset: {file.name} is {sizes[0][0]}x{sizes[0][1]} pixels, its picture {sizes[1][0]}x{sizes[1][1]}.",
    )
    lines = files.read_text(classes).splitlines() if folders.is_readable(classes) else []
    return ids, [line.strip() for line in lines if line.strip()]


def from_alpha(picture: Path) -> tuple[Image.Image, list[str]]:
    """(1 where the picture is opaque, no classes); nothing where it has no alpha channel or hides nothing."""
    whole = upright(picture)
    alpha = numpy.asarray(whole.convert("RGBA").getchannel("A")) if has_alpha(whole) else numpy.full((1, 1), 255)
    opaque = alpha >= OPAQUE
    return Image.fromarray((opaque & ~opaque.all()).astype(numpy.uint8)), []
