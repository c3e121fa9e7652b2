"""Weight files: atomic writes, broken files, key formats, known families."""

import json

import pytest
import torch
from fewstep.weights import checks, families, io, keys
from safetensors.torch import save_file

NAMES = {
    "input_blocks.1.1.proj_in": "down_blocks.0.attentions.0.proj_in",
    "middle_block.0.in_layers.2": "mid_block.resnets.0.conv1",
}


def adapter(rank: int = 4) -> dict[str, torch.Tensor]:
    """What the roles hold: one Linear and one Conv2d adapter under the host's names."""
    g = torch.Generator().manual_seed(0)
    return {
        "input_blocks.1.1.proj_in.lora_A.weight": torch.randn(rank, 8, generator=g),
        "input_blocks.1.1.proj_in.lora_B.weight": torch.randn(16, rank, generator=g),
        "middle_block.0.in_layers.2.lora_A.weight": torch.randn(rank, 8, 3, 3, generator=g),
        "middle_block.0.in_layers.2.lora_B.weight": torch.randn(16, rank, 1, 1, generator=g),
    }


def test_what_is_saved_is_loaded_with_its_metadata(tmp_path):
    io.save({"a": torch.arange(6.0).view(2, 3).T}, tmp_path / "deep" / "file.safetensors", {"made": "here"})
    tensors, metadata = io.load(tmp_path / "deep" / "file.safetensors")
    assert torch.equal(tensors["a"], torch.arange(6.0).view(2, 3).T) and metadata == {"made": "here"}
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["file.safetensors"]


def test_a_saved_file_is_readable_as_any_new_file_is(tmp_path):
    (tmp_path / "plain").touch()
    io.save({"a": torch.ones(3)}, tmp_path / "file.safetensors", {})
    assert (tmp_path / "file.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_failed_write_leaves_the_old_file_whole(tmp_path, monkeypatch):
    file = tmp_path / "file.safetensors"
    io.save({"a": torch.ones(3)}, file, {})

    def full_disk(tensors, path, metadata):
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(io, "save_file", full_disk)
    with pytest.raises(OSError, match="could not be written.*free some disk"):
        io.save({"a": torch.zeros(3)}, file, {})
    assert torch.equal(io.load(file)[0]["a"], torch.ones(3))
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04", b"\xff" * 8, b"\x10\x00\x00\x00\x00\x00\x00\x00{}", b"\x80\x04K\x01."]
)
def test_files_that_are_no_safetensors_get_a_sentence(content, tmp_path):
    (tmp_path / "bad.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match='"bad.safetensors" cannot be read as a safetensors file'):
        io.load(tmp_path / "bad.safetensors")


def test_a_file_that_the_system_does_not_open_is_not_called_damaged(tmp_path, monkeypatch):
    """Windows with a small paging file: downloading again would not help."""

    def refused(*_, **__):
        raise OSError("The paging file is too small for this operation to complete. (os error 1455)")

    monkeypatch.setattr(io, "safe_open", refused)
    with pytest.raises(ValueError, match='"a.safetensors" cannot be opened .*1455 wants a larger paging file'):
        io.load(tmp_path / "a.safetensors")


@pytest.mark.skipif(not hasattr(torch, "float8_e8m0fnu"), reason="this torch does not know the kind")
def test_the_scales_of_mxfp8_are_finite():
    scales = torch.tensor([2.0**-127, 1.0, 2.0**127]).to(torch.float8_e8m0fnu)
    assert checks.finite(scales)


def test_a_cut_file_gets_a_sentence(tmp_path):
    save_file({"a": torch.ones(100)}, tmp_path / "cut.safetensors")
    whole = (tmp_path / "cut.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[:-40])
    with pytest.raises(ValueError, match="cut short"):
        io.load(tmp_path / "cut.safetensors")


def test_export_uses_kohyas_names_of_the_diffusers_blocks():
    file = keys.export_lora(adapter(), NAMES, alpha=8.0)
    name = "lora_unet_down_blocks_0_attentions_0_proj_in"
    assert set(file) == {
        f"{n}.{part}"
        for n in (name, "lora_unet_mid_block_resnets_0_conv1")
        for part in ("lora_down.weight", "lora_up.weight", "alpha")
    }
    up, down = file[f"{name}.lora_up.weight"], file[f"{name}.lora_down.weight"]
    own = adapter()
    delta = own["input_blocks.1.1.proj_in.lora_B.weight"] @ own["input_blocks.1.1.proj_in.lora_A.weight"]
    assert torch.allclose(up @ down, delta) and file[f"{name}.alpha"] == 8.0


@pytest.mark.parametrize("rank, alpha", [(4, 8.0), (6, 3.0)])
def test_import_turns_export_around_also_into_a_larger_rank(rank, alpha):
    file, ours = keys.export_lora(adapter(), NAMES, alpha=8.0), {k: torch.zeros(s) for k, s in larger(rank)}
    assert keys.import_lora(file, ours, NAMES, scale=alpha / rank) == (2, 2)
    again = keys.export_lora(ours, NAMES, alpha)
    for name in keys.modules_of(file):
        deltas = [
            float(f[f"{name}.alpha"])
            / len(f[f"{name}.lora_down.weight"])
            * (f[f"{name}.lora_up.weight"].flatten(1) @ f[f"{name}.lora_down.weight"].flatten(1))
            for f in (file, again)
        ]
        assert torch.allclose(*deltas, atol=1e-5)


def larger(rank: int) -> list:
    """The adapter's keys with shapes of another rank."""
    down = ("lora_A" in key for key in adapter())
    return [
        (key, (rank, *t.shape[1:]) if is_down else (t.shape[0], rank, *t.shape[2:]))
        for (key, t), is_down in zip(adapter().items(), down)
    ]


def test_import_refuses_a_larger_file_and_counts_what_is_missing():
    file, ours = keys.export_lora(adapter(), NAMES, alpha=8.0), {k: torch.zeros(s) for k, s in larger(2)}
    with pytest.raises(ValueError, match="Take a rank of at least 4"):
        keys.import_lora(file, ours, NAMES, scale=1.0)
    half = {key: tensor for key, tensor in file.items() if "proj_in" in key}
    assert keys.import_lora(half, {k: torch.zeros(s) for k, s in larger(4)}, NAMES, scale=1.0) == (1, 2)


@pytest.mark.parametrize("prefix", ["unet.", "base_model.model.", "base_model.model.unet."])
@pytest.mark.parametrize("adapter_name", ["", ".default"])
def test_peft_keys_become_kohya_keys(prefix, adapter_name):
    key = f"{prefix}down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0.lora_A{adapter_name}.weight"
    wanted = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_out_0.lora_down.weight"
    assert set(keys.to_kohya({key: torch.ones(1)})) == {wanted}


def test_kohya_and_unknown_keys_stay():
    tensors = {"lora_unet_x.lora_up.weight": torch.ones(1), "transformer.blocks.0.something": torch.ones(1)}
    assert keys.to_kohya(tensors) == tensors


KNOWN = [
    ("Hyper-SD15-1step-lora.safetensors", "tcd", "lcm", (1, 8), 1.0),
    ("Hyper-SDXL-8steps-lora.safetensors", "ddim", "trailing", (8, 8), 1.0),
    ("Hyper-SD15-12steps-CFG-lora.safetensors", "ddim", "trailing", (12, 12), 5.0),
    ("sdxl_lightning_4step_lora.safetensors", "ddim", "trailing", (4, 4), 1.0),
    ("pcm_sd15_smallcfg_4step_converted.safetensors", "ddim", "trailing", (4, 4), 1.0),
    ("pcm_sdxl_normalcfg_8step_converted.safetensors", "ddim", "trailing", (8, 8), 4.5),
    ("pcm_sd15_lcmlike_lora_converted.safetensors", "lcm", "lcm", (1, 8), 1.0),
    ("dmd2_sdxl_4step_lora_fp16.safetensors", "lcm", "trailing", (4, 4), 1.0),
    ("lcm-lora-sdv1-5/pytorch_lora_weights.safetensors", "lcm", "lcm", (2, 8), 1.0),
    ("lcm_lora_sdxl.safetensors", "lcm", "lcm", (2, 8), 1.0),
    ("TCD-SDXL-LoRA.safetensors", "tcd", "lcm", (2, 50), 1.0),
    ("folder\\tcd-sd15.safetensors", "tcd", "lcm", (2, 50), 1.0),
]


@pytest.mark.parametrize("name, sampler, schedule, steps, cfg", KNOWN)
def test_published_files_are_known_by_name(name, sampler, schedule, steps, cfg):
    found = families.from_name(name)
    assert (found.sampler, found.schedule, found.steps, found.cfg) == (sampler, schedule, steps, cfg)


@pytest.mark.parametrize("name", ["pytorch_lora_weights.safetensors", "my-style.safetensors", "watcdog.safetensors"])
def test_other_files_are_not_guessed(name):
    assert families.from_name(name) is None


def test_our_files_say_how_they_are_sampled():
    from dataclasses import asdict

    settings = families.up_to_8("FewStep LCM", "lcm")
    metadata = {families.METADATA_KEY: json.dumps({"sampling": asdict(settings)})}
    assert families.from_metadata(metadata) == settings and families.from_metadata({}) is None


@pytest.mark.parametrize(
    "steps, strength, negative, said",
    [(4, 1.0, "", 0), (9, 1.0, "", 1), (4, 0.5, "", 1), (4, 1.0, "blurry", 1), (9, 0.2, "blurry", 3)],
)
def test_advice_names_what_does_not_fit(steps, strength, negative, said):
    assert len(families.advice(families.up_to_8("LCM", "lcm"), steps, strength, negative)) == said


def test_the_same_content_is_the_same_file(tmp_path):
    """safetensors orders metadata at random; a chained run knows its start by the file's hash."""
    metadata = {f"key {n}": f'value "{n}" \n é \t' for n in range(12)}
    tensors = {"a": torch.arange(3.0), "b": torch.ones(2, dtype=torch.float16)}
    for n in range(4):
        io.save(tensors, tmp_path / f"{n}.safetensors", dict(sorted(metadata.items(), reverse=n % 2 == 1)))
    files = [(tmp_path / f"{n}.safetensors").read_bytes() for n in range(4)]
    assert len(set(files)) == 1
    found, read = io.load(tmp_path / "0.safetensors")
    assert read == metadata and all(torch.equal(found[key], tensors[key]) for key in tensors)
