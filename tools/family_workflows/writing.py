"""The note of each workflow: its files, their model pages, the settings that the pack knows; and its text."""

import json
import re
from pathlib import Path

from ...samplers.schedule import SCHEDULES
from ...weights import families
from ...weights.families import models
from .graphs import File, Row
from .rows import ROWS

FOLDER = Path(__file__).resolve().parents[2] / "workflows" / "api" / "families"


def settings_of(file: File):
    """What the pack knows of a few-step file by its name."""
    if file.folder == "loras":
        return families.from_name(file.name)
    hits = ((row, re.search(row.pattern, file.name.lower())) for row in models.ROWS)
    row, hit = next(pair for pair in hits if pair[1])
    return row.make(int(hit[1]) if hit.re.groups else 0)


def settings_lines(row: Row, file: File) -> list[str]:
    """The same that the loader's report says."""
    known = settings_of(file)
    steps = str(row.steps)
    points = known.sigmas.get(steps) or known.timesteps.get(steps) or SCHEDULES[known.schedule](row.steps, 1.0)
    what = "sigmas" if known.sigmas else "timesteps"
    eta = f", eta {known.eta:g}" if known.sampler == "tcd" else ""
    strength = f", strength {known.strength:g}" if file.folder == "loras" else ""
    return [
        f"{known.family}: sampler {known.sampler}{eta}, cfg {known.cfg:g}{strength}",
        f"  {what} {', '.join(f'{point:.4g}' for point in points)}",
        *([f"  {known.note}"] if known.note else []),
        f"  source: {known.source}",
    ]


def note(row: Row) -> str:
    loader = "FewStep Load LoRA" if row.file.folder == "loras" else "FewStep Load Model"
    lines = ["Files (get them from their model pages)", *map(str, (*row.files, *row.base)), ""]
    lines += [f"Settings ({loader} knows them by the file's name; its report says the same)"]
    for file in row.files:
        lines += settings_lines(row, file)
    if row.file.name == "lcm_sdxl_unet.safetensors":
        lines += ["", "This model hears its guidance as an embedding: the widget guidance, not cfg."]
    if any(f.folder in ("diffusion_models", "text_encoders") for f in (*row.files, *row.base)):
        lines += ["", "In old versions of ComfyUI diffusion_models is called unet, and text_encoders clip."]
    return "\n".join(lines)


def workflow(row: Row) -> dict:
    """The row's graph, its note at the first node (the host ignores _meta; ui_format.py makes it a Note)."""
    graph = row.build(row)
    graph["1"]["_meta"] = {"note": note(row)}
    return dict(graph)


def text_of(workflow: dict) -> str:
    """A node a line, as the other API workflows are written."""
    lines = [f"  {json.dumps(key)}: {json.dumps(node)}" for key, node in workflow.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def write() -> None:
    """Write workflows/api/families/*.json."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for row in ROWS:
        (FOLDER / f"{row.name}.json").write_text(text_of(workflow(row)), encoding="utf-8")
