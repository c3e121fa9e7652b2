"""FewStep Check Workflow on the server: the open workflow, a pasted one, a file of the input folder, no workflow."""

import json

import pytest

LORA = "Wan2.2-Lightning_T2V-A14B-4steps-lora_HIGH_fp16.safetensors"


def wrong() -> dict:
    """Twenty steps with a 4-step file that need not be there."""
    model = {"model": ["2", 0], "steps": 20, "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple", "denoise": 1.0}
    return {
        "2": {"class_type": "LoraLoaderModelOnly", "inputs": {"lora_name": LORA, "strength_model": 1.0}},
        "3": {"class_type": "KSampler", "inputs": model},
    }


def said(client, **inputs) -> str:
    node = {"class_type": "FewStepCheckWorkflow", "inputs": {"workflow": "the open workflow", **inputs}}
    return "".join(client.submit({"1": node}, timeout=120)["1"]["text"])


def test_the_open_workflow_and_a_pasted_one(client):
    assert "No few-step file" in said(client)
    assert "steps 20 -> 4" in said(client, workflow_json=json.dumps(wrong()))


def test_a_file_of_the_input_folder(client, host):
    (host.workdir / "input").mkdir(exist_ok=True)
    (host.workdir / "input" / "wrong.json").write_text(json.dumps(wrong()))
    assert f"{LORA} (Wan 2.2 lightx2v, high noise): steps 20 -> 4" in said(client, workflow="wrong.json")


@pytest.mark.parametrize(
    "inputs, sentence",
    [
        ({"workflow_json": "{"}, "FewStep Check Workflow: workflow_json is no JSON"),
        ({"workflow_json": '{"a": 1}'}, "FewStep Check Workflow: workflow_json is no workflow"),
    ],
)
def test_what_is_no_workflow_gets_a_sentence(client, inputs, sentence):
    with pytest.raises(RuntimeError, match=sentence):
        said(client, **inputs)
