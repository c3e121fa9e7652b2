"""Prompt lists of any length: the prompts of a file stay in the file, and only their places are in memory."""

import csv
import re
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from hashlib import blake2b
from itertools import accumulate, chain, compress
from pathlib import Path
from typing import BinaryIO

from .checks import require

TABLES = (".csv", ".tsv")
ENDINGS = (".txt", *TABLES)
USUAL = ("prompt", "caption", "text")  # columns that need no naming
LONGEST = 1_000_000  # bytes of a line
BLOCK = 1 << 16  # bytes read at a time
MARK = b"\xef\xbb\xbf"  # the byte order mark that some editors put before UTF-8


class PromptFile(Sequence):
    """The prompts of a UTF-8 file: the lines of a .txt, or one column of a .csv or .tsv whose first row names it.

    Reading it once finds where every prompt begins (8 bytes each) and a digest of them all; `[i]` then reads that one.
    Blank lines and empty cells are no prompts. Raises ValueError for another encoding, a broken table, a column that
    is not there or empty, and when the file changes later.
    """

    def __init__(self, path: Path, column: str = "", node: str = "FewStepPrompts"):
        require(path.is_file(), f"{node}: {path.name} is no file, or a link to nothing. Refresh the list.")
        self.path, self.node, self.stamp = path, node, stamp(path)
        self.delimiter, self.cell, self.first = None, 0, 0
        if path.suffix.lower() in TABLES:
            self.read_header(column.strip())
        self.places, self.digest = self.read_all()
        require(
            bool(self.places) or self.delimiter is None,
            f"{node}: the chosen column of {path.name} has no text in any row. Choose another, or fill it.",
        )

    def read_all(self) -> tuple[array, str]:
        """(where every prompt begins, a digest of them all)."""
        places, digest = array("Q"), blake2b(digest_size=8)
        if self.delimiter is None:
            for found, prompts in blocks(self.path, self.node):
                places.extend(found)
                digest.update(prompts)
            return places, digest.hexdigest()
        for place, prompt in self.records(self.first):
            places.append(place)
            digest.update(prompt.encode() + b"\0")
        return places, digest.hexdigest()

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> str:
        require(stamp(self.path) == self.stamp, f"{self.node}: {self.path.name} was changed. Queue the graph again.")
        with closing(self.records(self.places[index])) as found:
            return next(found)[1]

    def __iter__(self) -> Iterator[str]:
        return (prompt for _, prompt in self.records(self.first))

    def records(self, start: int) -> Iterator[tuple[int, str]]:
        """(place in bytes, prompt) from a place on."""
        with open(self.path, "rb") as file:
            file.seek(start)
            rows = self.rows(file)
            while True:
                place = file.tell()
                row = next(rows, None)
                if row is None:
                    return
                prompt = row[self.cell].strip() if self.cell < len(row) else ""
                if prompt:
                    yield place, prompt

    def rows(self, file: BinaryIO) -> Iterator[list[str]]:
        """Lines, or rows of the table, with no line read ahead."""
        if self.delimiter is None:
            return ([line] for line in self.lines(file))
        return self.checked(csv.reader(self.lines(file), delimiter=self.delimiter, strict=True))

    def lines(self, file: BinaryIO) -> Iterator[str]:
        for number, line in enumerate(iter(partial(file.readline, LONGEST + 1), b""), 1):
            require(len(line) <= LONGEST, too_long(self.path, self.node, number))
            try:
                yield line.removeprefix(MARK).decode("utf-8")
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"{self.node}: {self.path.name} is not UTF-8 text (line {number}: {error}). Save it as UTF-8."
                ) from error

    def checked(self, rows) -> Iterator[list[str]]:
        try:
            yield from rows
        except csv.Error as error:
            raise ValueError(
                f"{self.node}: {self.path.name} is no table that can be read (row {rows.line_num}: {error}). "
                "Close its quotes, or save it as CSV again."
            ) from error

    def read_header(self, column: str) -> None:
        """Delimiter, the wanted cell, and where the first row begins."""
        with open(self.path, "rb") as file:
            first = next(self.lines(file), "")
            self.delimiter = "\t" if self.path.suffix.lower() == ".tsv" else max(",;\t", key=first.count)
            file.seek(0)
            names = [name.strip() for name in next(self.rows(file), [])]
            self.first = file.tell()
        require(any(names), f"{self.node}: {self.path.name} has no first row with the names of its columns. Add one.")
        usual = [name for name in names if name.lower() in USUAL] or names
        found = column if column else usual[0] if len(usual) == 1 else None
        problem = f"no column {column[:80]!r}" if column else "several columns"
        require(
            found in names,
            f"{self.node}: {self.path.name} has {problem}. Write one of these into column: {', '.join(names)[:300]}.",
        )
        self.cell = names.index(found)


def blocks(path: Path, node: str) -> Iterator[tuple[list[int], bytes]]:
    """(places, prompts with a zero byte behind each) of the lines of a text file, a block of it at a time.

    Ten million lines one by one would take half a minute.
    """
    place, line, rest = 0, 1, b""
    with open(path, "rb") as file:
        while data := file.read(BLOCK):
            *whole, rest = (rest + data).split(b"\n")
            yield block(path, node, whole, place, line)
            place, line = place + sum(map(len, whole)) + len(whole), line + len(whole)
            require(len(rest) <= LONGEST, too_long(path, node, line))
        yield block(path, node, [rest], place, line)


def block(path: Path, node: str, lines: list[bytes], place: int, first: int) -> tuple[list[int], bytes]:
    """Of one block: `place` in bytes and line number `first` are those of its first line."""
    require(max(map(len, lines), default=0) < LONGEST, too_long(path, node, first))
    try:
        text = b"\n".join(lines).decode("utf-8")
    except UnicodeDecodeError as error:
        number = first + error.object.count(b"\n", 0, error.start)
        raise ValueError(
            f"{node}: {path.name} is not UTF-8 text (line {number}: {error.reason}). Save it as UTF-8."
        ) from error
    if "\ufeff" in text:  # the mark before a line, as `lines` takes it away
        text = re.sub(r"(^|\n)\ufeff", r"\1", text)
    starts, texts = accumulate((len(one) + 1 for one in lines), initial=place), list(map(str.strip, text.split("\n")))
    kept = list(compress(starts, texts))
    return kept, "".join(f"{text}\0" for text in texts if text).encode()


def too_long(path: Path, node: str, line: int) -> str:
    return f"{node}: {path.name} has a line of more than {LONGEST:,} bytes (line {line} or after). Break it up."


def typed_prompts(text: str, what: str) -> tuple[str, ...]:
    """The lines of a text field that are not blank. Raises ValueError for letters that are no text."""
    found = tuple(line.strip() for line in text.splitlines() if line.strip())
    for number, prompt in enumerate(found, 1):
        require(
            not any("\ud800" <= letter <= "\udfff" for letter in prompt),
            f"{what}: prompt {number} has half of a letter in it (a lone surrogate). Type it anew.",
        )
    return found


class Prompts(Sequence):
    """Several lists of prompts one after another, none of them copied."""

    def __init__(self, *parts: Sequence[str]):
        self.parts = [part for part in parts if len(part)]
        self.ends = list(accumulate(len(part) for part in self.parts))
        self.digest = blake2b("".join(map(digest_of, self.parts)).encode(), digest_size=8).hexdigest()

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    def __getitem__(self, index: int) -> str:
        if not 0 <= index < len(self):
            raise IndexError(index)
        part = bisect_right(self.ends, index)
        return self.parts[part][index - (self.ends[part - 1] if part else 0)]

    def __iter__(self) -> Iterator[str]:
        return chain.from_iterable(self.parts)


def digest_of(prompts: Sequence[str]) -> str:
    """A short name of exactly these prompts in this order."""
    known = getattr(prompts, "digest", None)
    if known:
        return known
    state = blake2b(digest_size=8)
    for prompt in prompts:
        state.update(prompt.encode() + b"\0")
    return state.hexdigest()


def different(prompts: Iterable[str], most: int) -> list[str] | None:
    """The different prompts in their order, or None when there are more than `most`: no more is ever held."""
    found: dict[str, None] = {}
    for prompt in prompts:
        found[prompt] = None
        if len(found) > most:
            return None
    return list(found)


def stamp(path: Path) -> tuple[int, int]:
    """(bytes, time) of a file, to see that it was changed."""
    seen = path.stat()
    return seen.st_size, seen.st_mtime_ns
