"""One LoRA in every key format, dtype and base: the host's weights come out the same."""

import pytest
import torch
from fewstep.tests.helpers.format_files import RANK, factors

pytest.importorskip("comfy", reason="the embedded host is not installed here")


def kohya(host, diffusers):
    module = "lora_unet_" + diffusers.replace(".", "_")
    return f"{module}.lora_down.weight", f"{module}.lora_up.weight", f"{module}.alpha"


def ldm(host, diffusers):
    module = "lora_unet_" + host.replace(".", "_")
    return f"{module}.lora_down.weight", f"{module}.lora_up.weight", f"{module}.alpha"


def peft(prefix, adapter=""):
    def write(host, diffusers):
        module = prefix + (host if prefix == "diffusion_model." else diffusers)
        return f"{module}.lora_A{adapter}.weight", f"{module}.lora_B{adapter}.weight", f"{module}.alpha"

    return write


def host_up_down(host, diffusers):
    module = "diffusion_model." + host
    return f"{module}.lora_down.weight", f"{module}.lora_up.weight", f"{module}.alpha"


def processor(host, diffusers):
    """Old diffusers: attention in the processor, everything else as `.lora.`."""
    block, _, projection = diffusers.partition(".to_")
    if not projection:
        return dotted(host, diffusers)
    module = f"unet.{block}.processor.to_{projection.removesuffix('.0')}"
    return f"{module}_lora.down.weight", f"{module}_lora.up.weight", f"{module}.alpha"


def dotted(host, diffusers):
    module = f"unet.{diffusers}"
    return f"{module}.lora.down.weight", f"{module}.lora.up.weight", f"{module}.alpha"


FORMATS = {
    "kohya": kohya,
    "ldm": ldm,
    "peft": peft("unet."),
    "raw peft": peft("base_model.model."),
    "raw peft of a pipeline": peft("base_model.model.unet."),
    "peft with the adapter's name": peft("base_model.model.", ".default"),
    "the host's own": peft("diffusion_model."),
    "the host's own, up and down": host_up_down,
    "old diffusers, processor": processor,
    "old diffusers, lora": dotted,
}
FP8 = [getattr(torch, name) for name in ("float8_e4m3fn", "float8_e5m2") if hasattr(torch, name)]
DTYPES = [torch.float32, torch.float16, torch.bfloat16, *FP8]


def written(model, naming, dtype, alpha: float | None, rank: int = RANK) -> dict[str, torch.Tensor]:
    file = {}
    for modules, (up, down) in factors(model, rank).items():
        down_key, up_key, alpha_key = naming(*modules)
        file[down_key], file[up_key] = down.to(dtype), up.to(dtype)
        if alpha is not None:
            file[alpha_key] = torch.tensor(alpha)
    return file


def patched_weights(model, file: dict) -> dict[str, torch.Tensor]:
    """The host's own arithmetic on every weight the file reaches."""
    from fewstep.host.loading import loras
    from fewstep.weights import keys

    tensors = keys.to_kohya(file)
    assert not loras.match(model, None, tensors).unmatched
    patched = loras.apply(model, None, tensors, 1.0)[0]
    weights = model.model.state_dict()
    with torch.inference_mode():
        return {
            key: patched.calculate_weight(patches, weights[key].clone(), key)
            for key, patches in patched.patches.items()
        }


@pytest.mark.parametrize("base", ["tiny", "sdxl"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("alpha", [None, 2.0])
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_of_a_delta_gives_the_same_weights(name, alpha, dtype, base, bases):
    model = bases[base]
    weights, found = model.model.state_dict(), patched_weights(model, written(model, FORMATS[name], dtype, alpha))
    assert len(found) == len(factors(model)) > 50
    scale = 1 if alpha is None else alpha / RANK
    for (host, _), (up, down) in factors(model).items():
        key = f"diffusion_model.{host}.weight"
        delta = (up.to(dtype).float().flatten(1) @ down.to(dtype).float().flatten(1)).view(weights[key].shape)
        assert torch.allclose(found[key], weights[key] + scale * delta, atol=1e-5), key


@pytest.mark.parametrize("rank", [1, 3, 80])
@pytest.mark.parametrize("name", FORMATS)
def test_any_rank_in_every_format(name, rank, bases):
    """80 is more than some layers of the tiny base have channels."""
    model, naming = bases["tiny"], FORMATS[name]
    weights = model.model.state_dict()
    found = patched_weights(model, written(model, naming, torch.float32, 2.0, rank))
    for (host, _), (up, down) in factors(model, rank).items():
        key = f"diffusion_model.{host}.weight"
        delta = (up.flatten(1) @ down.flatten(1)).view(weights[key].shape)
        assert torch.allclose(found[key], weights[key] + 2 / rank * delta, atol=1e-5), key


@pytest.mark.parametrize("base", ["tiny", "sdxl"])
@pytest.mark.parametrize("part", ["time_emb_proj", "conv1", "conv2", "conv_shortcut", "downsamplers", "upsamplers"])
def test_convolutions_and_time_projections_are_among_the_layers(part, base, bases):
    assert any(part in diffusers for _, diffusers in factors(bases[base]))


@pytest.mark.parametrize("base", ["tiny", "sdxl"])
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_merged_under_the_same_names(name, base, bases):
    """A file of any format minus kohya's file is nothing, module by module; ldm's names are translated."""
    from fewstep.weights import keys, merge

    one, other = (
        merge.deltas(keys.to_kohya(written(bases[base], FORMATS[n], torch.float32, 2.0))) for n in ("kohya", name)
    )
    assert one.keys() == other.keys()
    nothing = merge.weighted_sum([(one, 1.0), (other, -1.0)])
    assert max(delta.dense().abs().max() for delta in nothing.values()) < 1e-6


TEXT = "text_model.encoder.layers.0.self_attn.q_proj"
TEXT_KEYS = [
    (f"text_encoder.{TEXT}.lora_A.weight", False, "lora_te_"),
    (f"text_encoder.{TEXT}.lora_A.weight", True, "lora_te1_"),
    (f"text_encoder_2.{TEXT}.lora_A.default.weight", True, "lora_te2_"),
    (f"text_encoder.{TEXT}.lora_linear_layer.down.weight", False, "lora_te_"),
    (f"lora_te1_{TEXT.replace('.', '_')}.lora_down.weight", True, "lora_te1_"),
]


@pytest.mark.parametrize("key, several, prefix", TEXT_KEYS)
def test_text_encoder_keys_become_kohyas(key, several, prefix):
    from fewstep.weights import keys

    assert keys.kohya_key(key, several) == f"{prefix}{TEXT.replace('.', '_')}.lora_down.weight"


@pytest.mark.parametrize(
    "module", ["transformer.single_transformer_blocks.0.proj_out", "diffusion_model.blocks.0.ffn.0"]
)
def test_transformers_keep_their_module_names(module):
    from fewstep.weights import keys

    assert keys.kohya_key(f"{module}.lora_B.weight") == f"{module}.lora_up.weight"
    assert keys.modules_of({f"{module}.lora_up.weight": 0, f"{module}.alpha": 0}).keys() == {module}


@pytest.mark.parametrize("part", ["hada_w1_a", "hada_t2", "lokr_w1", "lokr_w2_b", "lora_mid.weight", "alpha"])
@pytest.mark.parametrize("prefix", ["unet.", "base_model.model.unet.", "diffusion_model.", ""])
def test_every_part_of_a_module_is_renamed_with_it(prefix, part):
    from fewstep.weights import keys

    assert keys.kohya_key(f"{prefix}down_blocks.0.resnets.0.conv1.{part}") == (
        f"lora_unet_down_blocks_0_resnets_0_conv1.{part}"
    )


def test_two_keys_of_one_weight_are_refused():
    from fewstep.weights import keys

    twice = {"unet.conv_in.lora_A.weight": torch.ones(1), "lora_unet_conv_in.lora_down.weight": torch.ones(1)}
    with pytest.raises(ValueError, match="are the same weight"):
        keys.to_kohya(twice)
