"""Turn the second run's LoRA into the shipped file: its time points and the recipe of both runs in the metadata."""

import json
from pathlib import Path

from ...weights import families, io

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "assets" / "loras" / "fewstep-tiny-sd-lcm-lora.safetensors"
# Multistep consistency sampling leaves its time points free. These came nearest to the reference among the lists that
# were tried (README.md); the other step counts keep the LCM grid.
TIMESTEPS = {"2": [999, 399], "4": [999, 599, 299, 39]}


def publish(second: Path, first: Path, target: Path = SHIPPED) -> None:
    """Write `target` from the second run's file; the first run's recipe stands in it as "first_run"."""
    tensors, metadata = io.load(second)
    recipe = json.loads(metadata[families.METADATA_KEY])
    recipe["sampling"]["timesteps"] = TIMESTEPS
    recipe["first_run"] = json.loads(io.load(first)[1][families.METADATA_KEY])["recipe"]
    metadata |= {"modelspec.title": "FewStep tiny SD LCM-LoRA", families.METADATA_KEY: json.dumps(recipe)}
    io.save(tensors, target, metadata)
