"""LoRAs of SD3, Flux, Wan, Qwen-Image and LTX through the host's own map, on small random models of its own classes.

The embedded host knows SD3 alone, and not diffusers' names for it; the rest runs where the class exists (see
small_models.py).
"""

import pytest
import torch
from fewstep.tests.helpers import small_models
from fewstep.tests.helpers.transformer_files import A_B, FORMS, KOHYA, MODULES, RANK, factors, file_of, rows
from fewstep.weights import keys
from safetensors.torch import save_file

OWN = {base: {target: (target, None) for target, part in found.values()} for base, found in MODULES.items()}
DIFFUSERS_NAMES = ("SD3", "Flux")
CASES = [pytest.param(base, *form, id=f"{base} {form[0] or 'bare'}") for base, forms in FORMS.items() for form in forms]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    small_models.start(tmp_path_factory.mktemp("transformers"))
    return {base: small_models.make(base) for base in FORMS}


def model_of(models, base: str):
    if models[base] is None:
        pytest.skip(f"this host has no {base}")
    return models[base]


def assert_exactly_patched(model, modules: dict, deltas: dict, file: dict, scale: float) -> None:
    """Every targeted row moves by its delta, every other stays."""
    expected = {k: w.clone() for k, w in model.model.diffusion_model.state_dict().items()}
    for module, (target, part) in modules.items():
        up, down = deltas[module]
        rows(expected[f"{target}.weight"], part).add_(scale * up @ down)
    found = small_models.patched_weights(model, keys.to_kohya(file))
    assert {key.removeprefix("diffusion_model.") for key in found} == {f"{t}.weight" for t, _ in modules.values()}
    for key, weight in found.items():
        assert torch.allclose(weight, expected[key.removeprefix("diffusion_model.")], atol=1e-5), key


@pytest.mark.parametrize("alpha", [None, 2.0])
@pytest.mark.parametrize("base, prefix, separator, sides", CASES)
def test_every_format_lands_on_its_weight(base, prefix, separator, sides, alpha, models):
    import comfy.utils

    if base in DIFFUSERS_NAMES and not hasattr(comfy.utils, "mmdit_to_diffusers"):
        pytest.skip("this host has no map of diffusers' names for transformers")
    model = model_of(models, base)
    deltas = factors(model.model.diffusion_model.state_dict(), MODULES[base])
    with torch.inference_mode():
        file = file_of(deltas, prefix, separator, sides, alpha)
        assert_exactly_patched(model, MODULES[base], deltas, file, 1.0 if alpha is None else alpha / RANK)


@pytest.mark.parametrize("base", FORMS)
@pytest.mark.parametrize("form", [("diffusion_model.", ".", A_B), *KOHYA], ids=["host's", "kohya"])
def test_the_hosts_own_names_land_too(base, form, models):
    model = model_of(models, base)
    deltas = factors(model.model.diffusion_model.state_dict(), OWN[base])
    with torch.inference_mode():
        assert_exactly_patched(model, OWN[base], deltas, file_of(deltas, *form), 1.0)


NAMES = {
    "SD3": ("Hyper-SD3-8steps-CFG-lora", 8, 5.0),
    "Flux": ("Hyper-FLUX.1-dev-8steps-lora", 8, 1.0),
    "Wan": ("Wan2.2-Lightning_T2V-A14B-4steps-lora_HIGH_fp16", 4, 1.0),
    "Qwen-Image": ("Qwen-Image-Lightning-4steps-V1.0", 4, 1.0),
    "LTX-Video": ("ltxv-13b-0.9.7-distilled-lora128", 7, 1.0),
}


@pytest.mark.parametrize("base", NAMES)
def test_the_node_loads_a_published_name_with_its_settings(base, models, tmp_path):
    """Format as published; on a host that lacks the names it says so, and what to do."""
    import comfy.utils
    from fewstep.host import folders
    from fewstep.nodes.load import FewStepLoadLora

    model, (name, steps, cfg) = model_of(models, base), NAMES[base]
    folders.folder_paths.add_model_folder_path("loras", str(tmp_path))
    with torch.inference_mode():
        file = file_of(factors(model.model.diffusion_model.state_dict(), MODULES[base]), *FORMS[base][0])
        save_file({key: tensor.half() for key, tensor in file.items()}, tmp_path / f"{name}.safetensors")
        arguments = (model, f"{name}.safetensors", 0.125, steps, 1.0)
        if base in DIFFUSERS_NAMES and not hasattr(comfy.utils, "mmdit_to_diffusers"):
            with pytest.raises(ValueError, match="Both are SD3, so this ComfyUI may not know the file's names"):
                FewStepLoadLora().load(*arguments)["result"]
            return
        patched, _, _, sigmas, found_cfg, text = FewStepLoadLora().load(*arguments)["result"]
    assert patched.patches and not model.patches and found_cfg == cfg
    assert f"{len(file)} tensors matched, 0 not" in text and "source: " in text
    assert float(sigmas[0]) == 1 and all(a > b for a, b in zip(sigmas, sigmas[1:]))
