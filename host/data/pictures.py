"""Files of pictures and captions that anybody may have made, opened within limits."""

from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from ...training.checks import require

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")  # by content, not by name: others have decoders that start programs
LARGEST = 50_000_000  # pixels, about 7000 x 7000: 600 MB while a transparent one is laid on white
LARGEST_FILE = 500_000_000  # bytes
LONGEST_TEXT = 1_000_000  # bytes of a caption
UNREADABLE = (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError)


def opened(file: Path | BinaryIO) -> Image.Image:
    """The picture with its header read. Raises what UNREADABLE lists."""
    try:
        picture = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError as error:  # which names the whole way to the file
        raise ValueError(f"it is no {', '.join(FORMATS[:-1])} or {FORMATS[-1]}") from error
    width, height = picture.size
    if width * height > LARGEST:
        picture.close()
        raise ValueError(f"it has {width} x {height} pixels, more than {LARGEST:,}: make it smaller")
    return picture


def said(error: Exception) -> str:
    """What went wrong, without the way to the file that the system adds: workflows show it."""
    return getattr(error, "strerror", None) or str(error)


def read_limited(path: Path, most: int) -> bytes:
    """A file's bytes. Raises ValueError for one that is too large or does not open."""
    try:
        size = path.stat().st_size
        require(size <= most, f"FewStepDataset: {path.name} has {size:,} bytes, more than {most:,}. Make it smaller.")
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"FewStepDataset: {path.name} cannot be opened ({error.strerror}).") from error


def read_text(path: Path) -> str:
    """A caption or a list of classes; the mark that some editors put before UTF-8 is no part of it."""
    try:
        return read_limited(path, LONGEST_TEXT).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"FewStepDataset: {path.name} is not UTF-8 text. Save it as UTF-8.") from error
