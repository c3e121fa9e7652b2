"""PEFT's alpha in a file's header, as diffusers writes it: honoured where the file has no alpha of its own."""

import json
import math

import pytest
import torch
from fewstep.weights import keys, merge, peft_alpha
from safetensors import safe_open

MODULE = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
KOHYA = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
OTHER = "unet.mid_block.attentions.0.proj_in"


def pair(module: str = MODULE, rank: int = 4) -> dict:
    return {f"{module}.lora_A.weight": torch.ones(rank, 6), f"{module}.lora_B.weight": torch.ones(5, rank)}


def header(**config) -> dict[str, str]:
    return {peft_alpha.KEY: json.dumps(config)}


def scale(tensors: dict, module: str = KOHYA) -> float:
    """What the file's delta is multiplied with."""
    return float(merge.deltas(keys.to_kohya(tensors))[module].dense()[0, 0]) / 4  # ones, rank 4


def test_the_scale_is_alpha_over_the_rank():
    config = {"unet.r": 4, "unet.lora_alpha": 2}
    assert scale(peft_alpha.with_alphas(pair(), header(**config))) == 0.5
    assert scale(peft_alpha.with_alphas(pair(), {})) == 1
    assert peft_alpha.with_alphas(pair(), {"format": "pt"}).keys() == pair().keys()


def test_a_header_without_prefix_speaks_of_the_network():
    bare = pair(MODULE.removeprefix("unet."))
    assert scale(peft_alpha.with_alphas(bare, header(r=4, lora_alpha=8))) == 2
    raw = pair(MODULE.replace("unet.", "base_model.model."))
    assert scale(peft_alpha.with_alphas(raw, header(r=4, lora_alpha=8))) == 2


def test_rslora_divides_by_the_root():
    config = {"unet.lora_alpha": 2, "unet.use_rslora": True}
    assert scale(peft_alpha.with_alphas(pair(), header(**config))) == pytest.approx(2 / math.sqrt(4))


@pytest.mark.parametrize("pattern", ["attn1.to_q", "to_q", f"^{MODULE.removeprefix('unet.')}", "to_q$"])
def test_patterns_name_modules(pattern):
    config = {"unet.lora_alpha": 4, "unet.alpha_pattern": {pattern: 1}}
    both = peft_alpha.with_alphas({**pair(), **pair(OTHER)}, header(**config))
    assert scale(both) == 0.25 and scale(both, "lora_unet_mid_block_attentions_0_proj_in") == 1


def test_an_alpha_in_the_file_wins_and_other_networks_stay():
    own = {**pair(), f"{MODULE}.alpha": torch.tensor(1.0)}
    assert scale(peft_alpha.with_alphas(own, header(**{"unet.lora_alpha": 8}))) == 0.25
    text = pair("text_encoder.text_model.encoder.layers.0.self_attn.q_proj")
    assert peft_alpha.with_alphas(text, header(**{"unet.lora_alpha": 8})).keys() == text.keys()


DAMAGED = [
    ({peft_alpha.KEY: "{"}, "is damaged"),
    ({peft_alpha.KEY: "[1]"}, "is a list"),
    (header(**{"unet.lora_alpha": "two"}), "alpha 'two'"),
    (header(**{"unet.lora_alpha": 0}), "alpha 0"),
    (header(**{"unet.lora_alpha": math.nan}), "alpha nan"),
    (header(**{"unet.lora_alpha": 4, "unet.alpha_pattern": {"(a+)+$": 1}}), "no module's name"),
]


@pytest.mark.parametrize("metadata, message", DAMAGED)
def test_a_damaged_header_gets_a_sentence(metadata, message):
    with pytest.raises(ValueError, match=message):
        peft_alpha.with_alphas(pair(), metadata)


def test_a_file_that_diffusers_saved_has_diffusers_scale(tmp_path):
    """Written by its own pipeline mixin, read back by ours: the delta is PEFT's, with rank 4, alpha 6, one of 2."""
    diffusers, peft = pytest.importorskip("diffusers"), pytest.importorskip("peft")
    from diffusers.training_utils import _collate_lora_metadata
    from peft.utils import get_peft_model_state_dict

    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(
        block_out_channels=(32, 32), cross_attention_dim=16, attention_head_dim=4, norm_num_groups=8,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )  # fmt: skip
    config = peft.LoraConfig(
        r=4, lora_alpha=6, target_modules=["to_q", "to_k"], alpha_pattern={"attn2.to_k": 2}, init_lora_weights=False
    )
    unet.add_adapter(config)
    diffusers.StableDiffusionPipeline.save_lora_weights(
        tmp_path,
        unet_lora_layers=get_peft_model_state_dict(unet),
        **_collate_lora_metadata({"unet": unet}),
    )
    with safe_open(tmp_path / "pytorch_lora_weights.safetensors", framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
        metadata = file.metadata()
    assert not any(key.endswith(".alpha") for key in tensors)
    deltas = merge.deltas(keys.to_kohya(peft_alpha.with_alphas(tensors, metadata)))
    layers = {name: m for name, m in unet.named_modules() if hasattr(m, "get_delta_weight")}
    assert len(deltas) == len(layers) > 4
    for name, layer in layers.items():
        ours = deltas["lora_unet_" + name.replace(".", "_")].dense()
        assert torch.allclose(ours, layer.get_delta_weight("default"), atol=1e-6), name
