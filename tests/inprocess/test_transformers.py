"""LoRAs of SD3, Flux, Wan, Qwen-Image and LTX through the host's own map, on small random models of its own classes.

The embedded host knows SD3 alone, and not diffusers' names for it; the rest runs where the class exists (see
small_models.py).
"""

import pytest
import torch
from fewstep.tests.helpers import small_models
from fewstep.weights import keys
from safetensors.torch import save_file

RANK = 4
SD3 = {  # diffusers' module: (the host's weight, which third of it); the names of Hyper-SD3's files
    "transformer_blocks.0.attn.to_q": ("joint_blocks.0.x_block.attn.qkv", 0),
    "transformer_blocks.0.attn.to_k": ("joint_blocks.0.x_block.attn.qkv", 1),
    "transformer_blocks.0.attn.to_v": ("joint_blocks.0.x_block.attn.qkv", 2),
    "transformer_blocks.0.attn.to_out.0": ("joint_blocks.0.x_block.attn.proj", None),
    "transformer_blocks.1.attn.add_q_proj": ("joint_blocks.1.context_block.attn.qkv", 0),
    "transformer_blocks.0.attn.add_k_proj": ("joint_blocks.0.context_block.attn.qkv", 1),
    "transformer_blocks.0.attn.add_v_proj": ("joint_blocks.0.context_block.attn.qkv", 2),
    "transformer_blocks.0.attn.to_add_out": ("joint_blocks.0.context_block.attn.proj", None),
    "transformer_blocks.1.ff.net.0.proj": ("joint_blocks.1.x_block.mlp.fc1", None),
    "transformer_blocks.0.ff_context.net.2": ("joint_blocks.0.context_block.mlp.fc2", None),
}
FLUX = {
    "transformer_blocks.0.attn.to_q": ("double_blocks.0.img_attn.qkv", 0),
    "transformer_blocks.1.attn.add_v_proj": ("double_blocks.1.txt_attn.qkv", 2),
    "transformer_blocks.0.attn.to_out.0": ("double_blocks.0.img_attn.proj", None),
    "transformer_blocks.0.attn.to_add_out": ("double_blocks.0.txt_attn.proj", None),
    "transformer_blocks.0.ff.net.0.proj": ("double_blocks.0.img_mlp.0", None),
    "transformer_blocks.0.ff_context.net.2": ("double_blocks.0.txt_mlp.2", None),
    "transformer_blocks.1.norm1.linear": ("double_blocks.1.img_mod.lin", None),
    "single_transformer_blocks.1.proj_out": ("single_blocks.1.linear2", None),
    "single_transformer_blocks.0.norm.linear": ("single_blocks.0.modulation.lin", None),
}
WAN = ["blocks.0.self_attn.q", "blocks.1.cross_attn.v", "blocks.0.ffn.0", "blocks.1.ffn.2", "text_embedding.0"]
QWEN = [
    "transformer_blocks.0.attn.to_q",
    "transformer_blocks.1.attn.add_k_proj",
    "transformer_blocks.0.attn.to_out.0",
    "transformer_blocks.0.img_mlp.net.0.proj",
    "transformer_blocks.1.txt_mlp.net.2",
    "transformer_blocks.0.img_mod.1",
]
LTX = ["transformer_blocks.0.attn1.to_q", "transformer_blocks.1.attn2.to_out.0", "transformer_blocks.0.ff.net.2"]
MODULES = {
    "SD3": SD3,
    "Flux": FLUX,
    "Wan": {module: (module, None) for module in WAN},
    "Qwen-Image": {module: (module, None) for module in QWEN},
    "LTX-Video": {module: (module, None) for module in LTX},
}
OWN = {base: {target: (target, None) for target, part in found.values()} for base, found in MODULES.items()}
UP_DOWN, A_B = ("lora_up.weight", "lora_down.weight"), ("lora_B.weight", "lora_A.weight")
KOHYA = [("lora_unet_", "_", UP_DOWN)]
FORMS = {  # (prefix, separator, names of the sides); what each family is published in, and its neighbours
    "SD3": [("transformer.", ".", A_B), ("base_model.model.", ".", A_B), ("lora_transformer_", "_", UP_DOWN)],
    "Flux": [("transformer.", ".", A_B), ("", ".", A_B), ("base_model.model.", ".", A_B)],
    "Wan": [("diffusion_model.", ".", A_B), ("", ".", A_B), ("transformer.", ".", A_B), *KOHYA],
    "Qwen-Image": [("", ".", UP_DOWN), ("transformer.", ".", A_B), ("diffusion_model.", ".", A_B), *KOHYA],
    "LTX-Video": [("diffusion_model.", ".", A_B), ("transformer.", ".", A_B), *KOHYA],
}
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


def rows(weight: torch.Tensor, part: int | None) -> torch.Tensor:
    return weight if part is None else weight.chunk(3)[part]


def factors(weights: dict, modules: dict) -> dict[str, tuple]:
    """{module: (up, down)} of the sizes of a network's weights."""
    generator, found = torch.Generator().manual_seed(1), {}
    for module, (target, part) in modules.items():
        size = rows(weights[f"{target}.weight"], part).shape
        found[module] = (
            torch.randn(size[0], RANK, generator=generator) * 0.1,
            torch.randn(RANK, size[1], generator=generator) * 0.1,
        )
    return found


def file_of(deltas: dict, prefix: str, separator: str, sides: tuple, alpha: float | None = None) -> dict:
    file = {}
    for module, (up, down) in deltas.items():
        name = prefix + module.replace(".", separator)
        file[f"{name}.{sides[0]}"], file[f"{name}.{sides[1]}"] = up, down
        if alpha is not None:
            file[f"{name}.alpha"] = torch.tensor(alpha)
    return file


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
                FewStepLoadLora().load(*arguments)
            return
        patched, _, _, sigmas, found_cfg, text = FewStepLoadLora().load(*arguments)
    assert patched.patches and not model.patches and found_cfg == cfg
    assert f"{len(file)} tensors matched, 0 not" in text and "source: " in text
    assert float(sigmas[0]) == 1 and all(a > b for a, b in zip(sigmas, sigmas[1:]))
