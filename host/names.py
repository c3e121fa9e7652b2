"""Names that users give to runs and files: checked in one place, before any work, and for every system at once.

A run folder or a LoRA is copied between Linux, macOS and Windows, so that each of them has to take the name.
"""

import unicodedata
from contextlib import suppress
from pathlib import Path

from ..training.checks import require

SPECIAL = '/\\:*?"<>|'
LONGEST = 180  # bytes in UTF-8: a file name may have 255, and endings and temporary names come to it
DEVICES = {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"}  # Windows opens the device, whatever ending follows
DEVICES |= {f"{port}{number}" for port in ("COM", "LPT") for number in "123456789¹²³"}
JOINERS = "\u200c\u200d"  # parts of words in Persian, Hindi and emoji; other unseen signs turn a name into another


class Outside(ValueError):
    """A name that leads out of its folder."""


def plain_name(name: str, what: str) -> str:
    """The name, without blanks around it. Raises ValueError, which begins with `what`, for what is no file's name."""
    name = name.strip()
    require(bool(name.strip(". ")), f"{what} {name!r} is empty. It names a file: give it a word.")
    special = " ".join(sorted(set(name) & set(SPECIAL)))
    require(
        not special,
        f"{what} {shown(name)} has {special}, which no file may have. Give a name without folders and special signs.",
    )
    unseen = sorted({f"U+{ord(sign):04X}" for sign in name if is_unseen(sign)})
    require(
        not unseen, f"{what} {shown(name)} has signs that cannot be seen ({', '.join(unseen[:3])}). Type the name anew."
    )
    require(
        name.split(".")[0].rstrip().upper() not in DEVICES,
        f"{what} {shown(name)} is what Windows calls a device. Choose another name.",
    )
    require(not name.endswith("."), f"{what} {shown(name)} ends with a dot, which Windows takes away. Leave it out.")
    size = len(name.encode())
    require(size <= LONGEST, f"{what} {shown(name)} is {size} bytes long. At most {LONGEST} fit: shorten it.")
    return name


def is_unseen(sign: str) -> bool:
    """Control and format signs (right-to-left marks), line ends and lone surrogates."""
    return unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Zl", "Zp") and sign not in JOINERS


def is_plain(name: str) -> bool:
    """Whether a name found on a disk is one that could have been given here."""
    try:
        return plain_name(name, "") == name
    except ValueError:
        return False


def shown(name: str) -> str:
    """The name in a sentence: escaped, and not longer than a line."""
    return repr(name if len(name) <= 60 else f"{name[:57]}...")


def inside(folder: Path, name: str, what: str) -> Path:
    """folder / name, refused when the name leads out of the folder, links included."""
    require("\0" not in name and len(name) < 4096, f"{what} {shown(name)} is no name of a file. Type it anew.")
    try:
        path = (folder / name).resolve()
        within = path.is_relative_to(folder.resolve())
        if within:
            with suppress(FileNotFoundError, NotADirectoryError):
                path.lstat()
    except (OSError, ValueError, RuntimeError) as error:  # a name too long, lone surrogates, links in a circle
        raise ValueError(f"{what} {shown(name)} cannot be looked up. Give another name.") from error
    if not within:
        raise Outside(f"{what} {shown(name)} leads out of the folder {folder.name}. Give a name inside it.")
    return path
