"""Two LoRA files interpolated from file to file: the same deltas as in memory, and what is copied stays to the bit."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fewstep.tests.helpers.lora_files import SHAPES, dense, lora
from fewstep.tests.helpers.streams import MEASURE, hashed, nothing
from fewstep.weights import merge, stream, stream_loras
from safetensors.torch import load_file, save_file


def stored(folder: Path, **files: dict) -> list[Path]:
    for name, tensors in files.items():
        save_file(tensors, folder / f"{name}.safetensors")
    return [folder / f"{name}.safetensors" for name in (*files, "made")]


@pytest.mark.parametrize("weight", [-0.5, 0.0, 0.3, 0.5, 1.0, 1.7])
@pytest.mark.parametrize("ranks, alphas", [((4, 4), (4.0, 4.0)), ((2, 7), (1.0, None)), ((8, 1), (None, 0.5))])
def test_files_give_what_memory_gives(weight, ranks, alphas, tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "CHUNK", 16)  # several chunks and rows a factor
    one, two = lora(ranks[0], 1, alphas[0]), lora(ranks[1], 2, alphas[1])
    a, b, made = stored(tmp_path, a=one, b=two)
    modules = stream_loras.interpolate(a, b, weight, made, hashed)
    expected = merge.to_file(merge.interpolate(merge.deltas(one), merge.deltas(two), weight))
    found = load_file(made)
    assert len(modules) == 2 and found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    for name in SHAPES:
        assert torch.allclose(
            dense(found)[name], weight * dense(one)[name] + (1 - weight) * dense(two)[name], atol=1e-4
        )


def test_halfway_between_fp16_files_every_factor_is_a_copy(tmp_path):
    one, two = (lora(4, seed, 2.0, dtype=torch.float16) for seed in (1, 2))
    a, b, made = stored(tmp_path, a=one, b=two)
    stream_loras.interpolate(a, b, 0.5, made, nothing)
    found = load_file(made)
    for name in SHAPES:
        for part, side in (("lora_up", 1), ("lora_down", 0)):
            key = f"{name}.{part}.weight"
            assert torch.equal(found[key], torch.cat([one[key], two[key]], dim=side))
        assert float(found[f"{name}.alpha"]) == 0.5 * 2.0 / 4 * 8


def test_the_target_may_be_a_parent(tmp_path, replaced_when_closed):
    one, two = lora(4, 1), lora(4, 2)
    a, b, made = stored(tmp_path, a=one, b=two)
    stream_loras.interpolate(a, b, 0.5, a, nothing)
    expected = merge.to_file(merge.interpolate(merge.deltas(one), merge.deltas(two), 0.5))
    assert all(torch.equal(tensor, expected[key]) for key, tensor in load_file(a).items())


@pytest.mark.parametrize(
    "dtypes, expected",
    [
        (("float16", "float16"), "float16"),
        (("bfloat16", "float16"), "float32"),
        (("float8_e4m3fn", "float8_e5m2"), "float16"),
        (("float32", "float16"), "float32"),
    ],
)
def test_precisions_are_joined_without_loss_of_the_downs(dtypes, expected, tmp_path):
    one, two = (lora(4, seed, 2.0, dtype=getattr(torch, kind)) for seed, kind in zip((1, 2), dtypes))
    a, b, made = stored(tmp_path, a=one, b=two)
    stream_loras.interpolate(a, b, 0.25, made, nothing)
    for key, tensor in load_file(made).items():
        if "down" in key:
            assert tensor.dtype == getattr(torch, expected)
            assert torch.equal(tensor.float(), torch.cat([one[key].float(), two[key].float()]))


def test_the_written_precision_can_be_chosen(tmp_path):
    a, b, made = stored(tmp_path, a=lora(4, 1), b=lora(4, 2))
    stream_loras.interpolate(a, b, 0.25, made, nothing, dtype=torch.bfloat16)
    kinds = {tensor.dtype for key, tensor in load_file(made).items() if not key.endswith(".alpha")}
    assert kinds == {torch.bfloat16}


def test_formats_mix_and_a_module_of_one_file_counts(tmp_path):
    names = {"lora_unet_conv_in": (8, 4, 3), "lora_unet_mid_block_attentions_0_proj_in": (6, 6, None)}
    one, two = lora(4, 1, 2.0, modules=names), lora(3, 2, 3.0, modules={"lora_unet_conv_in": (8, 4, 3)})
    other = {"base_model.model.unet.conv_in.lora_A.weight": two["lora_unet_conv_in.lora_down.weight"]}
    other["base_model.model.unet.conv_in.lora_B.weight"] = two["lora_unet_conv_in.lora_up.weight"]
    a, b, made = stored(tmp_path, a=one, b=other)
    stream_loras.interpolate(a, b, 0.25, made, nothing)
    found = dense(load_file(made))
    lone = "lora_unet_mid_block_attentions_0_proj_in"
    assert torch.allclose(found[lone], 0.25 * dense(one)[lone], atol=1e-5)
    mixed = 0.25 * dense(one)["lora_unet_conv_in"] + 0.75 * dense(two)["lora_unet_conv_in"]
    assert torch.allclose(found["lora_unet_conv_in"], mixed, atol=1e-5)


def test_a_file_with_itself_is_itself(tmp_path):
    one = lora(4, 1, 2.0)
    a, made = stored(tmp_path, a=one)
    stream_loras.interpolate(a, a, 0.3, made, nothing)
    for name, delta in dense(load_file(made)).items():
        assert torch.allclose(delta, dense(one)[name], atol=1e-5)


def changed(**changes) -> dict:
    return {**lora(4, 2), **{key.replace("__", "."): value for key, value in changes.items()}}


BAD = {
    "NaN": (changed(lora_unet_a_to_q__lora_up__weight=torch.full((16, 4), float("nan"))), "a_to_q.lora_up.* NaN"),
    "another shape": (lora(4, 2, modules={"lora_unet_a_to_q": (16, 13, None)}), "different shapes"),
    "nothing in common": (lora(4, 2, modules={"lora_unet_z": (16, 12, None)}), "no module in common"),
    "half a pair": ({"lora_unet_a_to_q.lora_up.weight": torch.ones(16, 4)}, '"b.safetensors".*no lora_down'),
    "two ranks": (changed(lora_unet_a_to_q__lora_up__weight=torch.ones(16, 3)), '"b.safetensors".*rank 3 above and 4'),
    "whole numbers": (changed(lora_unet_a_to_q__lora_up__weight=torch.ones(16, 4).int()), '"b.safetensors".*not fp32'),
    "alpha 0": (changed(lora_unet_a_to_q__alpha=torch.tensor(0.0)), '"b.safetensors".*no scale'),
    "a long alpha": (changed(lora_unet_a_to_q__alpha=torch.ones(9)), '"b.safetensors".*no scale'),
    "DoRA": (changed(lora_unet_a_to_q__dora_scale=torch.ones(1)), '"b.safetensors".*no plain LoRA'),
    "no tensors": ({}, '"b.safetensors".*no tensors'),
}


@pytest.mark.parametrize("fault", BAD)
def test_bad_files_get_a_sentence_and_nothing_is_left_behind(fault, tmp_path):
    a, b, made = stored(tmp_path, a=lora(4, 1), b=BAD[fault][0])
    with pytest.raises(ValueError, match=BAD[fault][1]):
        stream_loras.interpolate(a, b, 0.5, made, nothing)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.safetensors", "b.safetensors"]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="measured through /proc")
def test_memory_does_not_grow_with_the_files(tmp_path):
    """Two files of 270 MB, factors of up to 34 MB among them, in less than 120 MB."""
    for name in "ab":
        file = {f"lora_unet_{n}.lora_up.weight": torch.ones(8192, 1024, dtype=torch.float16) for n in range(8)}
        file |= {f"lora_unet_{n}.lora_down.weight": torch.ones(1024, 8192, dtype=torch.float16) for n in range(8)}
        save_file(file, tmp_path / f"{name}.safetensors")
    code = MEASURE.format(root=str(Path(__file__).resolve().parents[2]))
    command = [sys.executable, "-c", code, str(tmp_path), "loras"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 120 * 1024
