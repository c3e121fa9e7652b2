"""Every kind of LoRA against every kind of model that the host has: what does not belong is refused by name."""

import pytest
from fewstep.tests.helpers import small_models
from fewstep.tests.helpers.base_files import FILES
from fewstep.weights import bases
from safetensors.torch import save_file


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """({base: MODEL} of this host, a loras folder)."""
    small_models.start(tmp_path_factory.mktemp("bases"))
    from fewstep.host import folders, headless

    folder = tmp_path_factory.mktemp("loras")
    folders.folder_paths.add_model_folder_path("loras", str(folder))
    for base, files in FILES.items():
        save_file(files[0], folder / f"{base}.safetensors")
    models = {base: small_models.make(base) for base in small_models.CONFIGS}
    tiny = headless.load_checkpoint(folders.ASSETS / "checkpoints" / "fewstep-tiny-sd.safetensors")[0]
    return {bases.TINY: tiny, **{base: model for base, model in models.items() if model}}, folder


def refusal(model, name: str, **options) -> str:
    """What the node says to a file, which it refuses here in any case: its sizes are those of the real base."""
    from fewstep.nodes.load import FewStepLoadLora

    with pytest.raises(ValueError) as caught:
        FewStepLoadLora().load(model, f"{name}.safetensors", 1.0, 4, 1.0, family="LCM-LoRA", **options)["result"]
    return str(caught.value)


@pytest.mark.parametrize("ours", [bases.TINY, *small_models.CONFIGS])
@pytest.mark.parametrize("theirs", FILES)
def test_a_lora_of_one_base_on_a_model_of_another(theirs, ours, place):
    models, _ = place
    if ours not in models:
        pytest.skip(f"this host has no {ours}")
    said = refusal(models[ours], theirs)
    assert said.startswith(f'FewStep Load LoRA: "{theirs}.safetensors": ') and not models[ours].patches
    sentence = f"holds {theirs} weights but the model is {ours}. Load a checkpoint of {theirs}, or another LoRA."
    assert (sentence in said) == (theirs != ours)


def test_what_was_cut_from_sdxl_may_be_tried(place):
    models, _ = place
    assert "allow_partial loads what fits" in refusal(models["SSD-1B"], "SDXL")
    assert "but the model is" not in refusal(models["SSD-1B"], "SDXL", allow_partial=True)
    assert "allow_partial" not in refusal(models["SDXL"], "SD1.5")
    assert "but the model is SDXL" in refusal(models["SDXL"], "SD1.5", allow_partial=True)
