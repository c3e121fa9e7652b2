"""FewStep Extract LoRA in the host: a model with a LoRA baked in gives that LoRA back, to load and to start from."""

import pytest
import torch
from fewstep.weights import families, io, merge

BASE, LORA = "fewstep-tiny-sd.safetensors", "fewstep-tiny-sd-lcm-lora.safetensors"


@pytest.fixture(scope="module")
def turbo(tiny) -> str:
    """The base with the shipped LoRA in its weights, as a checkpoint; its name says lcm."""
    from fewstep.host.loading import loras, saving

    model, clip, vae = tiny
    tensors, _ = loras.read(LORA, "test")
    patched, _ = loras.apply(model, None, loras.fitted(model, tensors), 1.0)
    return saving.save_model(patched, clip, vae, "tiny_lcm", {}, torch.float32, True, "test")


def extracted(turbo: str, **inputs) -> tuple:
    from fewstep.nodes.extract import FewStepExtractLora

    given = {"few_step_model": turbo, "base_model": BASE, "rank": 64, "dtype": "fp32", "name": "speed"}
    made = FewStepExtractLora().extract(**{**given, "overwrite": True, "family": "auto", "steps": 4, **inputs})
    return made["result"] if isinstance(made, dict) else made


def test_the_lora_that_was_baked_in_comes_back(turbo, tiny):
    """Under the names of the shipped file, so that a student can start from it; and with the model's settings."""
    from fewstep.host import folders
    from fewstep.host.loading import loras

    listed, report = extracted(turbo)
    found, metadata = io.load(folders.full_path("loras", listed))
    shipped, _ = io.load(folders.full_path("loras", LORA))
    assert set(found) == set(shipped)
    mine, theirs = merge.deltas(found), merge.deltas(shipped)
    for module, delta in theirs.items():
        expected = delta.dense()
        assert (mine[module].dense() - expected).norm() <= 1e-3 * expected.norm() + 1e-5, module
    fitted = loras.fitted(tiny[0], loras.read(listed, "test")[0])
    assert loras.match(tiny[0], None, fitted).tensors == (2 * len(theirs), 0)
    assert families.from_metadata(metadata).sampler == "lcm" and "relative error 0.00" in report
    assert '"relative_error": "0.00' in metadata[families.METADATA_KEY]


@pytest.mark.parametrize(
    "inputs, said",
    [
        ({"base_model": "same", "rank": 1}, "hold the same weights"),
        ({"few_step_model": BASE}, "has no FewStep metadata and no known name"),
        ({"few_step_model": BASE, "family": "SDXL-Lightning one step, x0"}, "predicts x0"),
        ({"overwrite": False}, "exists already"),
    ],
)
def test_what_cannot_be_extracted_gets_a_sentence(turbo, inputs, said):
    inputs = {key: turbo if value == "same" else value for key, value in inputs.items()}
    with pytest.raises(ValueError, match=said):
        extracted(turbo, **inputs)
