"""What the benchmark of long runs says of a run's folder."""

import json

import pytest
from fewstep.benchmarks.health.__main__ import row


def written(folder, losses: list[float], memory: list[float]):
    lines = [json.dumps({"step": n, "loss": loss}) for n, loss in enumerate(losses, 1)]
    (folder / "metrics.jsonl").write_text("\n".join(lines))
    (folder / "memory-0.json").write_text(json.dumps([(n + 1, gb) for n, gb in enumerate(memory)]))
    return [cell.strip() for cell in row("LCM", folder).strip("|").split("|")]


@pytest.mark.parametrize(
    "losses, memory, expected",
    [
        ([0.5] * 200, [0.4] * 30, ["yes", "0.5", "0.5", "400", "+0"]),
        ([0.5] * 199 + [float("nan")], [0.4] * 15 + [0.9] * 15, ["NO", "0.5", "nan", "900", "+500"]),
    ],
    ids=["healthy", "ill"],
)
def test_a_row_tells_growing_memory_and_numbers_that_are_none(losses, memory, expected, tmp_path):
    assert written(tmp_path, losses, memory) == ["LCM", "200", *expected]
