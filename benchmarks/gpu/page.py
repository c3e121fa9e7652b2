"""docs/gpu.md from benchmarks/results/gpu.json: `python -m benchmarks.gpu.page`."""

import json
from pathlib import Path

from fewstep.benchmarks.gpu import table

ROOT = Path(__file__).resolve().parents[2]
FIGURES, PAGE = ROOT / "benchmarks" / "results" / "gpu.json", ROOT / "docs" / "gpu.md"
HEAD = """# On a GPU

`python run.py bench gpu` measures this on any machine with CUDA, in 25 minutes at most, and writes
`benchmarks/results/gpu.json`; this page is made of that file.

Seconds are those of one iteration at batch 1 with a LoRA of rank 64 and random weights: the median after two of them.
The peak is the highest that PyTorch's allocator held during the run, the estimate what users are shown before it.
"""
NOTHING = "**No GPU has run it yet.**\n"


def page(found: dict | None) -> str:
    """The page; without figures it says so."""
    if found is None:
        return f"{HEAD}\n{NOTHING}"
    rows = found["training"]
    measured = [row for row in rows if "error" not in row]
    lines = [f"- {name(row)}: {row['error']}" for row in rows if "error" in row]
    left = "\n\n## Not measured there\n\n" + "\n".join(lines) if lines else ""
    return f"{HEAD}\n{table.text(found | {'training': measured})}{left}\n"


def name(row: dict) -> str:
    """SD1.5, LCM, in bf16, with checkpointing."""
    parts = [row["size"], row["method"], f"in {row['precision']}", "with checkpointing" if row["checkpointing"] else ""]
    return ", ".join(part for part in parts if part)


def main() -> None:
    found = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else None
    PAGE.write_text(page(found), encoding="utf-8")


if __name__ == "__main__":
    main()
