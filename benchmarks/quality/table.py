"""results.json and the Markdown table made from it."""

import json
from pathlib import Path

from .score import Result

HERE = Path(__file__).resolve().parent
RESULTS, TABLE = HERE / "results.json", HERE / "results.md"
NOTE = (
    "Frechet distance (FD) on the first 64 principal components of EfficientNet-Lite0 features (fitted on real "
    "pictures), with the floor taken off; KID x 1000. Reference: 2,000 reconstructions of real pictures by the VAE, "
    "and the 2,000 real ones. The floor is the distance of as many fresh pictures of the reference's own kind. Seconds "
    "(one CPU thread) were taken beside other work, rows at different loads: read no speed-up from them. The ratio is "
    "to the best stock row measured in full at no more passes."
)


def load() -> dict:
    """Return the results so far."""
    if not RESULTS.exists():
        return {"about": NOTE, "rows": [], "screened": []}
    return json.loads(RESULTS.read_text(encoding="utf-8"))


def add(result: Result, seed: int, part: str = "rows") -> None:
    """Put a result into results.json, in place of an older one of the same name."""
    results = load()
    kept = [line for line in results[part] if line["name"] != result.name]
    kept.append(result.line() | {"seed": seed})
    results[part] = sorted(kept, key=lambda line: (line["passes"], line["reconstructed"]))
    part_file = RESULTS.with_suffix(".tmp")
    part_file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    part_file.replace(RESULTS)


def best_stock(lines: list[dict], passes: float) -> dict | None:
    """Return the stock row of the base with the smallest distance among those with at most `passes` passes."""
    stock = [line for line in lines if line["row"]["scheduler"] and not line["row"]["lora"]]
    within = [line for line in stock if line["passes"] <= passes]
    return min(within, key=lambda line: line["reconstructed"], default=None)


def ratio(lines: list[dict], line: dict) -> str:
    """Return a student's distance over the best stock sampler's at as many passes, and that sampler's name."""
    stock = best_stock(lines, line["passes"]) if line["row"]["lora"] else None
    if stock is None:
        return ""
    fewer = f", {stock['passes']:g} passes" if stock["passes"] < line["passes"] else ""
    return f"{line['reconstructed'] / stock['reconstructed']:.2f} x ({stock['name']}{fewer})"


def text(result: Result) -> str:
    """Return a result as one line for the terminal."""
    line, lines = result.line(), load()["rows"]
    figures = f"{line['reconstructed']:8.2f} reconstructed {line['real']:8.2f} real {line['kid']:8.2f} KID"
    return f"{figures}  {line['passes']:4g} passes  {line['name']}  {ratio(lines, line)}"


def write() -> str:
    """Write the Markdown table from results.json and return it."""
    lines = load()["rows"]
    head = ["what", "passes", "FD above floor, reconstructed", "FD above floor, real", "KID", "s/picture", "n", "ratio"]
    body = [
        [line["name"], f"{line['passes']:g}", f"{line['reconstructed']:.2f}", f"{line['real']:.2f}"]
        + [f"{line['kid']:.1f}", f"{line['seconds']:.3f}", str(line["n"]), ratio(lines, line)]
        for line in lines
    ]
    rows = ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *body)]
    floors = ""
    if lines:
        n, reconstructed, real = (lines[0][key] for key in ("n", "floor_reconstructed", "floor_real"))
        floors = f"Floors at n = {n}: {reconstructed} (reconstructed), {real} (real)."
    TABLE.write_text("\n".join(["# Measured distances", "", NOTE, floors, "", *rows, ""]), encoding="utf-8")
    return "\n".join(rows)
