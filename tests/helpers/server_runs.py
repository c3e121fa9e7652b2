"""Workflows sent to a running server, and what comes back."""

import json
import re
from pathlib import Path

import numpy
import torch
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parents[2]
API = sorted((ROOT / "workflows" / "api").glob("*.json"))


def read(file: Path) -> dict:
    return json.loads(file.read_text(encoding="utf-8"))


def name_of(file: Path) -> str:
    """A workflow's name without its number among the templates."""
    return re.sub(r"^\d\d_", "", file.stem)


def api(name: str, **changes) -> dict:
    """An API workflow with inputs replaced, by its name without the number: api("distil_dmd", node_5={"steps": 2})."""
    (file,) = (file for file in API if name_of(file) == name)
    workflow = read(file)
    for key, inputs in changes.items():
        workflow[key.removeprefix("node_")]["inputs"].update(inputs)
    return workflow


def pictures(client, workflow: dict) -> dict[str, list[numpy.ndarray]]:
    """{file name prefix: pictures [h, w, 3] in 0..1} of a finished workflow."""
    found: dict[str, list] = {}
    for node in client.submit(workflow, timeout=600).values():
        for image in node.get("images", []):
            picture = numpy.asarray(client.picture(image).convert("RGB"), dtype=numpy.float32) / 255
            found.setdefault(image["filename"].rsplit("_", 2)[0], []).append(picture)
    return found


def assert_is_a_picture(picture: numpy.ndarray) -> None:
    """Not grey, not noise: contrast, and neighbours that are alike."""
    roughness = numpy.abs(numpy.diff(picture, axis=1)).mean()
    assert picture.std() > 0.08, f"grey: {picture.std():.3f}"
    assert roughness < 0.5 * picture.std(), f"noise: {roughness:.3f} of {picture.std():.3f}"


QUICK = {"steps": 4, "batch_size": 4, "preview_every": 2}
SHORT = {
    name_of(file): {"node_3": {"count": 16}, "node_5": QUICK} for file in API if name_of(file).startswith("distil_")
}
SHORT["swiftbrush_merge"] = {"node_3": {"count": 16}, "node_5": QUICK, "node_10": QUICK}


def latents(client, host, workflow: dict) -> dict[str, torch.Tensor]:
    """{node: its saved latents}."""
    shown = {key: found["latents"][0] for key, found in client.submit(workflow).items() if "latents" in found}
    files = {key: host.workdir / "output" / one["subfolder"] / one["filename"] for key, one in shown.items()}
    return {key: load_file(file)["latent_tensor"] for key, file in files.items()}
