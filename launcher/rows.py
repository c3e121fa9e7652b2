"""A workflow for each line of a CSV, and the file that keeps what became of each."""

import csv
import hashlib
import json
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import workflow
from .workflow import Workflow


@dataclass(frozen=True)
class Row:
    """A graph to run once: its line in the CSV (1 is the first below the head), what it sets, our name for its run."""

    number: int
    values: dict[str, str]
    graph: Workflow
    key: str


def read(file: Path | str) -> list[dict[str, str]]:
    """The lines below the head, which holds NODE.INPUT names as --set takes them. An empty cell sets nothing."""
    file = Path(file)
    if not file.is_file():
        raise FileNotFoundError(f"Launcher: there is no CSV file {file}.")
    with file.open(encoding="utf-8-sig", newline="") as stream:
        lines = list(csv.reader(stream))
    head, lines = [name.strip() for name in lines[0]] if lines else [], [line for line in lines[1:] if any(line)]
    if not lines or len(set(head)) < len(head) or not all(head):
        raise ValueError(f"Launcher: {file} needs a head of different NODE.INPUT names, and a line a run below it.")
    for number, line in enumerate(lines, 1):
        if len(line) != len(head):
            raise ValueError(
                f"Launcher: line {number} below the head of {file} has {len(line)} cells, not {len(head)}."
            )
    return [{name: text for name, text in zip(head, line) if text} for line in lines]


def graphs(base: Workflow, lines: Sequence[dict[str, str]], run: str) -> list[Row]:
    """The base's copies with each line's values. run: the UUID that all keys are made from."""
    rows = []
    for number, values in enumerate(lines, 1):
        graph = base
        for name, text in values.items():
            try:
                graph = workflow.assign(graph, f"{name}={text}")
            except ValueError as error:
                raise ValueError(f"{error} (line {number} below the CSV's head)") from error
        rows.append(Row(number, values, graph, str(uuid.uuid5(uuid.UUID(run), str(number)))))
    return rows


@dataclass
class Results:
    """STEM.results.jsonl: a head, then a record for each row that ended. It is what a second start goes on from."""

    file: Path
    run: str
    records: dict[int, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def open(cls, file: Path, base: Workflow, lines: Sequence[dict[str, str]]) -> "Results":
        """Begin a file, or read the one that an earlier start with the same graph and values has left."""
        what = hashlib.sha256(json.dumps([base, list(lines)], sort_keys=True).encode()).hexdigest()
        if not file.exists():
            results = cls(file, str(uuid.uuid4()))
            file.parent.mkdir(parents=True, exist_ok=True)
            results._append({"run": results.run, "of": what})
            return results
        head, *records = map(json.loads, whole_lines(file))
        if head["of"] != what:
            raise ValueError(
                f"Launcher: {file} holds the results of another workflow or other values. Move it away, or choose "
                "another --out."
            )
        return cls(file, head["run"], {record["row"]: record for record in records})

    def done(self, number: int) -> bool:
        """Whether a row's files are saved; one that failed is run again at the next start."""
        return "error" not in self.records.get(number, {"error": "not run"})

    def add(self, record: dict[str, Any]) -> None:
        """Keep what became of a row: once its files are saved, for this line is what counts it as done."""
        self.records[record["row"]] = record
        self._append(record)

    def _append(self, record: dict[str, Any]) -> None:
        with self.file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record, ensure_ascii=False) + "\n")
            stream.flush()
            os.fsync(stream.fileno())


def whole_lines(file: Path) -> list[str]:
    """The lines of a file, without a last one that was cut off as it was written; that one is cut away."""
    text = file.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    if whole != text:
        with file.open("r+b") as stream:
            stream.truncate(len(whole))
    return whole.decode("utf-8").splitlines()
