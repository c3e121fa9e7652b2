"""Webdataset shards: .tar files in which key.jpg and key.txt (or key.json) lie side by side. Nothing is extracted."""

import tarfile
from array import array
from collections.abc import Iterator
from pathlib import Path

from ...training.checks import require
from ...training.data import Lazy
from ...weights import plain_json
from ..progress import throw_if_cancelled
from .pictures import LARGEST_FILE, LONGEST_TEXT

CAPTION_KEYS = ("caption", "text", "prompt")  # of a .json, the first that is there
LONGEST_NAME = 1 << 20  # bytes
EXTENSIONS = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)  # what says more of the member after it
EXTENSIONS += (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
FIELDS = 6  # kept of a sample: shard, picture's place and size, caption's place and size, whether it is json


class Shards:
    """The samples of uncompressed .tar files in the order of the files, found once, each read in place when asked for.

    48 bytes a sample are in memory. Samples without a picture (a failed download) are passed over; a picture without a
    caption is refused. Raises ValueError for files that are cut short or no tar.
    """

    def __init__(self, paths: list[Path], pictures: tuple[str, ...]):
        self.paths, self.places = paths, array("Q")
        for shard, path in enumerate(paths):
            for sample in samples_of(path):
                place = next((sample[ending] for ending in pictures if ending in sample), None)
                if place:
                    kind = next((ending for ending in (".txt", ".json") if ending in sample), None)
                    require(
                        kind is not None,
                        f"FewStepDataset: {sample['key']} in {path.name} has a picture but no caption. Add "
                        f"{sample['key']}.txt, or a .json with {CAPTION_KEYS[0]!r}, to the shard.",
                    )
                    self.places.extend((shard, *place, *sample[kind], kind == ".json"))
        require(
            bool(self.places),
            f"FewStepDataset: {', '.join(path.name for path in paths)}: no pictures ({', '.join(pictures)}) inside.",
        )
        self.captions = Lazy(len(self.places) // FIELDS, self.caption)

    def row(self, index: int) -> array:
        return self.places[index * FIELDS : (index + 1) * FIELDS]

    def name(self, index: int) -> str:
        """The picture's name, from the header before its bytes."""
        shard, place = self.row(index)[:2]
        header = read_at(self.paths[shard], place - tarfile.BLOCKSIZE, tarfile.BLOCKSIZE)
        return f"{tarfile.TarInfo.frombuf(header, 'utf-8', 'replace').name} in {self.paths[shard].name}"

    def read(self, index: int) -> bytes:
        shard, place, size = self.row(index)[:3]
        self.check_size(index, size, LARGEST_FILE, "picture")
        return read_at(self.paths[shard], place, size)

    def check_size(self, index: int, size: int, most: int, what: str) -> None:
        require(size <= most, f"FewStepDataset: the {what} of {self.name(index)} has {size:,} bytes, over {most:,}.")

    def caption(self, index: int) -> str:
        shard, _, _, place, size, is_json = self.row(index)
        self.check_size(index, size, LONGEST_TEXT, "caption")
        data = read_at(self.paths[shard], place, size)
        try:
            text = data.decode("utf-8-sig")
            said = plain_json.parse(text) if is_json else text
        except ValueError as error:
            raise ValueError(
                f"FewStepDataset: the caption of {self.name(index)} is not UTF-8 {'JSON' if is_json else 'text'} "
                f"({error}). Write it again."
            ) from error
        if is_json:
            keys = list(said) if isinstance(said, dict) else []
            said = next((said[key] for key in CAPTION_KEYS if key in keys), None)
            require(
                isinstance(said, str),
                f"FewStepDataset: the .json of {self.name(index)} has no text under {', '.join(CAPTION_KEYS)}. "
                f"It has: {', '.join(map(str, keys[:20]))[:300] or 'no keys'}.",
            )
        return said.strip()


def samples_of(path: Path) -> Iterator[dict]:
    """{"key": name, ".jpg": (place, size), ...} of each run of members that share a name up to its first dot."""
    sample: dict = {"key": None}
    for member in members_of(path):
        folder, _, name = member.name.rpartition("/")
        stem, dot, ending = name.partition(".")
        key = f"{folder}/{stem}" if folder else stem
        if sample["key"] != key:
            yield sample
            sample = {"key": key}
        sample[f"{dot}{ending}".lower()] = (member.offset_data, member.size)
    yield sample


class Member(tarfile.TarInfo):
    """A member whose own name and attributes are of a size that names have: the library reads them whole."""

    def _proc_member(self, tar):
        if self.type in EXTENSIONS and not 0 <= self.size <= LONGEST_NAME:
            raise tarfile.ReadError(f"a member's name takes {self.size:,} bytes")
        return super()._proc_member(tar)


def members_of(path: Path) -> Iterator[tarfile.TarInfo]:
    """The ordinary files of a shard, none kept in memory."""
    try:
        size = path.stat().st_size
        with tarfile.open(path, "r:", tarinfo=Member) as tar:
            while (member := tar.next()) is not None:
                throw_if_cancelled()
                tar.members.clear()
                if member.isreg() and not member.issparse():
                    if member.offset_data + member.size > size:
                        raise tarfile.ReadError("it is cut short")
                    yield member
    except (tarfile.TarError, OSError, ValueError, RecursionError) as error:
        raise ValueError(
            f"FewStepDataset: {path.name} is no whole, uncompressed tar file ({error}). Download or pack it again."
        ) from error


def read_at(path: Path, place: int, size: int) -> bytes:
    with open(path, "rb") as file:
        file.seek(place)
        return file.read(size)
