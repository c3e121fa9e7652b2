"""A LoRA trained through /prompt over a base whose matrices are fp8 or int8, and sampled on it in the same graph."""

import os
from pathlib import Path

import pytest
from fewstep.tests.helpers import quantised_bases
from fewstep.tests.helpers.server_runs import QUICK, api, assert_is_a_picture, pictures

KINDS = {"scaled_fp8": "float8_e4m3fn", "int8": "int8"}


def known(kind: str) -> bool:
    """Whether the host reads such files: the embedded one reads none, earlier upstream ones no int8."""
    comfy = Path(os.environ.get("COMFYUI_DIR", "none")) / "comfy"
    later = (comfy / "quant_ops.py").is_file()
    return later or (kind == "scaled_fp8" and "def scaled_fp8_ops" in read(comfy / "ops.py"))


def read(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.is_file() else ""


@pytest.mark.parametrize("kind", KINDS)
def test_a_student_of_a_quantised_base(kind, client, host):
    if not known(kind):
        pytest.skip(f"this host reads no {kind} checkpoints")
    folder = host.workdir / "models" / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    file = quantised_bases.write(getattr(quantised_bases, kind), folder / f"tiny-{kind}.safetensors")
    settings = {**QUICK, "run_name": f"over-{kind}", "gradient_checkpointing": True}
    changes = {"node_1": {"ckpt_name": file.name}, "node_3": {"count": 16}}
    made = pictures(client, api("distil_lcm_lora", **changes, node_5=settings))
    assert len(made["fewstep_student"]) == 4
    for picture in made["fewstep_student"]:
        assert_is_a_picture(picture)
    assert (host.workdir / "models" / "loras" / "fewstep" / f"over-{kind}.safetensors").is_file()
    whole = {**QUICK, "run_name": f"whole-{kind}", "train": "full"}
    with pytest.raises(RuntimeError, match=f"train full .* quantised: {KINDS[kind]}"):
        client.submit(api("distil_lcm_lora", **changes, node_5=whole), timeout=300)
