"""A few-step model minus its base as a LoRA: plain, fp8 and int8 files, matrices and convolutions, and the error."""

import json
import math

import pytest
import torch
from fewstep.weights import dequantise, extract, io, merge, stream
from safetensors.torch import load_file, save_file

FP8 = torch.float8_e4m3fn


def low_rank(*shape: int, rank: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    width = math.prod(shape[1:])
    found = torch.randn(shape[0], rank, generator=generator) @ torch.randn(rank, width, generator=generator)
    return found.reshape(shape) / rank


@pytest.fixture
def files(tmp_path):
    """A base, and the same with a difference of rank 3 in a matrix and a convolution; a norm differs too."""
    base = {
        "a.to_q.weight": low_rank(48, 32, rank=32, seed=0),
        "b.conv.weight": low_rank(16, 8, 3, 3, rank=16, seed=1),
        "c.same.weight": low_rank(8, 8, rank=8, seed=2),
        "n.weight": torch.ones(8),
    }
    turbo = {key: value.clone() for key, value in base.items()}
    turbo["a.to_q.weight"] += low_rank(48, 32, rank=3, seed=3)
    turbo["b.conv.weight"] += low_rank(16, 8, 3, 3, rank=3, seed=4)
    turbo["n.weight"] += 1
    for name, tensors in (("base", base), ("turbo", turbo)):
        save_file(tensors, tmp_path / f"{name}.safetensors")
    return tmp_path, base, turbo


def made(folder, turbo="turbo", base="base", rank=4, **options):
    """(what was said, the deltas of the file, its metadata)"""
    errors = []
    found = extract.extract(
        folder / f"{turbo}.safetensors",
        folder / f"{base}.safetensors",
        rank,
        folder / "lora.safetensors",
        lambda *hashes: {"error": f"{errors[-1] if errors else 0:.6f}", "parents": json.dumps(hashes)},
        on_error=errors.append,
        **options,
    )
    tensors, metadata = io.load(folder / "lora.safetensors")
    return found, merge.deltas(tensors), metadata


def test_a_difference_of_low_rank_is_found_exactly(files):
    folder, base, turbo = files
    said, deltas, metadata = made(folder, dtype=torch.float32)
    for key in ("a.to_q", "b.conv"):
        expected = (turbo[f"{key}.weight"] - base[f"{key}.weight"]).flatten(1)
        assert torch.allclose(deltas["lora_unet_" + key.replace(".", "_")].dense(), expected, atol=1e-4)
    assert said.error < 1e-3 and said.alike == 1 and said.left_out == ["n.weight"] and len(deltas) == 2
    assert metadata["error"] == f"{said.error:.6f}"
    assert json.loads(metadata["parents"])[0] == io.sha256(folder / "turbo.safetensors")


@pytest.mark.parametrize("rank", [1, 2])
def test_the_error_is_that_of_what_was_written(files, rank):
    folder, base, turbo = files
    said, deltas, _ = made(folder, rank=rank, dtype=torch.float32)
    whole = [(turbo[f"{k}.weight"] - base[f"{k}.weight"]).flatten(1) for k in ("a.to_q", "b.conv")]
    rest = [w - deltas[f"lora_unet_{k}"].dense() for w, k in zip(whole, ("a_to_q", "b_conv"))]
    squared = [sum(float(t.square().sum()) for t in some) for some in (rest, whole)]
    assert said.error == pytest.approx(math.sqrt(squared[0] / squared[1]), rel=1e-3)


def test_a_large_matrix_by_the_randomised_svd_is_as_near_as_by_the_whole_one(monkeypatch):
    delta = low_rank(300, 200, rank=40, seed=5) + 0.01 * low_rank(300, 200, rank=200, seed=6)
    *_, exact, total = extract.factors(delta, 20, torch.device("cpu"))
    monkeypatch.setattr(extract, "EXACT", 8)
    up, down, lost, _ = extract.factors(delta, 20, torch.device("cpu"))
    assert lost == pytest.approx(exact, rel=1e-3)
    assert float((delta - up @ down).square().sum()) == pytest.approx(lost, rel=1e-3)


def scaled_fp8(tensors: dict, old: bool) -> dict:
    found = {"scaled_fp8": torch.zeros(2, dtype=FP8)} if old else {}
    for name, tensor in tensors.items():
        scale = tensor.abs().max() / 448
        end = "scale_weight" if old else "weight_scale"
        packed = {name: (tensor / scale).to(FP8), name.removesuffix("weight") + end: scale}
        found |= packed if tensor.ndim > 1 else {name: tensor}
    return found


def int8(tensors: dict, group: int) -> dict:
    """A scale a row; with a group the inputs are rotated first, where they can be."""
    found = {}
    for name, tensor in tensors.items():
        if tensor.ndim != 2:
            found[name] = tensor
            continue
        turn = group if group and tensor.shape[1] % group == 0 else 0
        turned = dequantise.rotated(tensor, turn) if turn else tensor
        scale = turned.abs().amax(1, keepdim=True) / 127
        stem = name.removesuffix("weight")
        conf = {"format": "int8_tensorwise", **({"convrot": True, "convrot_groupsize": turn} if turn else {})}
        found |= {name: (turned / scale).round().to(torch.int8), f"{stem}weight_scale": scale}
        found[f"{stem}comfy_quant"] = torch.tensor(list(json.dumps(conf).encode()), dtype=torch.uint8)
    return found


@pytest.mark.parametrize("kind", ["fp8, old", "fp8, new", "int8", "int8, rotated"])
def test_quantised_files_are_dequantised(files, kind, monkeypatch):
    folder, _, turbo = files
    pack = {
        "fp8, old": lambda t: scaled_fp8(t, True),
        "fp8, new": lambda t: scaled_fp8(t, False),
        "int8": lambda t: int8(t, 0),
        "int8, rotated": lambda t: int8(t, 16),
    }[kind]
    save_file(pack(turbo), folder / "packed.safetensors")
    monkeypatch.setattr(stream, "CHUNK", 100)  # several blocks a matrix
    header = stream.read_header(folder / "packed.safetensors")
    with stream.Reader(header) as reader:
        found = dequantise.weights(header, reader)["a.to_q"]
        read = torch.cat([found.rows(*block) for block in found.blocks()])
    expected = turbo["a.to_q.weight"]
    assert float((read - expected).norm() / expected.norm()) < 0.04
    said, deltas, _ = made(folder, turbo="packed", rank=8, dtype=torch.float32)
    assert 0 < said.error < 0.5 and set(deltas) >= {"lora_unet_a_to_q"}


def test_the_rotation_is_the_hosts():
    kitchen = pytest.importorskip("comfy_kitchen.backends.eager.convrot_w4a4", reason="only with newer hosts")
    x = torch.randn(5, 128, generator=torch.Generator().manual_seed(0))
    hadamard = kitchen._build_hadamard(64)
    assert torch.allclose(dequantise.rotated(x, 64), kitchen._rotate_weight(x, hadamard, 64), atol=1e-5)
    assert torch.allclose(dequantise.rotated(dequantise.rotated(x, 64), 64), x, atol=1e-5)


def test_the_network_of_a_checkpoint_beside_a_bare_network(files):
    folder, base, turbo = files
    whole = {f"model.diffusion_model.{key}": value for key, value in turbo.items()}
    save_file({**whole, "first_stage_model.x.weight": torch.ones(4, 4)}, folder / "checkpoint.safetensors")
    said, deltas, _ = made(folder, turbo="checkpoint")
    assert sorted(deltas) == ["lora_unet_a_to_q", "lora_unet_b_conv"] and said.error < 1e-2


def broken(folder, change) -> None:
    tensors = load_file(folder / "turbo.safetensors")
    save_file(change(tensors), folder / "broken.safetensors")


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda t: load_like(t, "a.to_q.weight", torch.zeros(4, 4)), "different architectures"),
        (lambda t: {f"x.{k}": v for k, v in t.items()}, "different architectures"),
        (lambda t: load_like(t, "a.to_q.weight", torch.full((48, 32), torch.nan)), "NaN"),
        (lambda t: load_like(t, "a.to_q.weight", torch.zeros(48, 32, dtype=torch.int8)), "without its scale"),
        (lambda t: {**t, "a.to_q.comfy_quant": quant({"format": "nvfp4"})}, "quantised as nvfp4"),
    ],
)
def test_what_cannot_be_extracted_gets_a_sentence_and_leaves_no_file(files, change, said):
    folder, *_ = files
    broken(folder, change)
    with pytest.raises(ValueError, match=said):
        made(folder, turbo="broken")
    assert not (folder / "lora.safetensors").exists()


def load_like(tensors: dict, name: str, tensor: torch.Tensor) -> dict:
    return {**tensors, name: tensor}


def quant(conf: dict) -> torch.Tensor:
    return torch.tensor(list(json.dumps(conf).encode()), dtype=torch.uint8)


def test_two_files_that_are_alike_get_a_sentence(files):
    with pytest.raises(ValueError, match="nothing to extract"):
        made(files[0], turbo="base")
