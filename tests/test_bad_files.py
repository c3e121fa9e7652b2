"""Bad LoRA files: each gives a sentence that names the node and the file, and leaves host and model as they were."""

import json
import struct

import pytest
import torch
from safetensors.torch import save, save_file

pytest.importorskip("comfy", reason="the embedded host is not installed here")

MODULE = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
UP, DOWN, ALPHA = (f"{MODULE}.{part}" for part in ("lora_up.weight", "lora_down.weight", "alpha"))
GOOD = "fewstep-tiny-sd-lcm-lora.safetensors"


def pair(width=64, out=64, rank=4, **changes) -> dict:
    file = {UP: torch.full((out, rank), 0.01), DOWN: torch.full((rank, width), 0.01), ALPHA: torch.tensor(4.0)}
    return {key: tensor for key, tensor in {**file, **changes}.items() if tensor is not None}


def header(text: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(text)) + text + data


def described(**entries) -> bytes:
    return header(json.dumps(entries).encode(), bytes(64))


F32 = {"dtype": "F32", "shape": [4]}
WHOLE = save(pair())
NO_SAFETENSORS = {
    "empty": b"",
    "truncated header": WHOLE[:20],
    "truncated data": WHOLE[:-100],
    "pickle": b"\x80\x04K\x01.",
    "zip": b"PK\x03\x04" + bytes(64),
    "text": b"this is not a weight file at all, it is text",
    "absurd header length": b"\xff" * 8 + bytes(64),
    "header is no JSON": header(b"{not json}"),
    "header is not UTF-8": header(b'{"__metadata__":{"a":"\xff\xfe"}}'),
    "overlapping offsets": described(a={**F32, "data_offsets": [0, 16]}, b={**F32, "data_offsets": [8, 24]}),
    "offsets beyond the end": described(a={**F32, "data_offsets": [0, 999]}),
    "metadata is no object": described(__metadata__=[1]),
}
TENSORS = {
    "no tensors": ({}, "no tensors"),
    "NaN": (pair(**{UP: torch.full((64, 4), float("nan"))}), "NaN or infinite"),
    "Inf": (pair(**{DOWN: torch.full((4, 64), float("inf"))}), "NaN or infinite"),
    "NaN in fp8": (pair(**{UP: torch.full((64, 4), float("nan")).to(torch.float8_e4m3fn)}), "NaN or infinite"),
    "alpha NaN": (pair(**{ALPHA: torch.tensor(float("nan"))}), "no scale"),
    "alpha zero": (pair(**{ALPHA: torch.tensor(0.0)}), "no scale"),
    "alpha a vector": (pair(**{ALPHA: torch.ones(3)}), "no scale"),
    "up without down": (pair(**{DOWN: None}), "no lora_down.weight"),
    "down without up": (pair(**{UP: None}), "no lora_up.weight"),
    "rank 0": (pair(rank=0), "no LoRA pair"),
    "ranks differ": (pair(**{UP: torch.ones(64, 3)}), "rank 3 above and 4 below"),
    "one-dimensional": (pair(**{UP: torch.ones(64), DOWN: torch.ones(64)}), "no LoRA pair"),
    "integers": (pair(**{UP: torch.ones(64, 4, dtype=torch.int8)}), "is int8"),
    "one weight twice": (
        {
            **pair(),
            f"unet.{'down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k'}.lora_A.weight": torch.ones(4, 64),
        },
        "are the same weight",
    ),
}
ON_THE_MODEL = {
    "SD1.5 on the tiny base": (pair(width=768), "holds SD1.5 weights"),
    "SD2 on the tiny base": (pair(width=1024), "holds SD2.x weights"),
    "SDXL on the tiny base": (pair(width=2048), "holds SDXL weights"),
    "shapes do not fit": (pair(out=32), "the model's weight is"),
    "unknown keys only": ({"something": torch.ones(2, 2)}, "only 0 of 1"),
    "text encoder only": (
        {key.replace("lora_unet", "lora_te"): tensor for key, tensor in pair().items()},
        "holds no weights of the diffusion model",
    ),
    "a transformer's": ({f"transformer.x.{k}": torch.ones(4, 4) for k in ("lora_A.weight", "lora_B.weight")}, "0 of 2"),
    "10,000 keys": ({f"lora_unet_blocks_{i}.diff": torch.ones(1) for i in range(10_000)}, "only 0 of 10000"),
}
DAMAGED = {
    "no JSON": "{",
    "no sampling": "{}",
    "a list": "[]",
    "unknown field": '{"sampling": {"family": "x", "steps": [1], "cfg_range": [1], "colour": 1}}',
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """(MODEL, loras folder) of the host in this process."""
    from pathlib import Path

    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COMFYUI_DIR", raising=False)
        from fewstep.host import folders, headless

        headless.start(workdir=tmp_path_factory.mktemp("bad"))
        folder = tmp_path_factory.mktemp("loras")
        folders.folder_paths.add_model_folder_path("loras", str(folder))
        assets = Path(__file__).resolve().parent.parent / "assets"
        yield headless.load_checkpoint(assets / "checkpoints" / "fewstep-tiny-sd.safetensors")[0], folder


def run(node: str, model, name: str):
    from fewstep.nodes import load, merge

    if node == "FewStepLoadLora":
        return load.FewStepLoadLora().load(model, name, 1.0, 4, 1.0, family="LCM-LoRA")
    if node == "FewStepInterpolateLoras":
        return merge.FewStepInterpolateLoras().merge(name, GOOD, 0.5, 0)
    return merge.FewStepCombineLoras().merge(GOOD, name, 1.0, 0.8, 0)


def assert_refused(node, place, name, message):
    """A sentence with the node's and the file's name; the model's weights keep their bits, a good file still works."""
    model, _ = place
    before = {key: tensor.clone() for key, tensor in model.model.state_dict().items()}
    with pytest.raises(ValueError, match=message) as caught:
        run(node, model, name)
    assert node in str(caught.value) and name in str(caught.value)
    assert not model.patches
    after = model.model.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert run(node, model, GOOD)


NODES = ["FewStepLoadLora", "FewStepInterpolateLoras", "FewStepCombineLoras"]


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("fault", NO_SAFETENSORS)
def test_no_safetensors_file(fault, node, place):
    (place[1] / "bad.safetensors").write_bytes(NO_SAFETENSORS[fault])
    assert_refused(node, place, "bad.safetensors", "cannot be read as a safetensors file")


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("fault", TENSORS)
def test_unusable_tensors(fault, node, place):
    tensors, message = TENSORS[fault]
    save_file(tensors, place[1] / "bad.safetensors")
    assert_refused(node, place, "bad.safetensors", message)


@pytest.mark.parametrize("fault", ON_THE_MODEL)
def test_files_of_another_model(fault, place):
    tensors, message = ON_THE_MODEL[fault]
    save_file(tensors, place[1] / "bad.safetensors")
    assert_refused("FewStepLoadLora", place, "bad.safetensors", message)


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("name", ["gone.safetensors", "../gone.safetensors", "/etc/passwd", "folder.safetensors"])
def test_names_that_are_no_listed_file(name, node, place):
    (place[1] / "folder.safetensors").mkdir(exist_ok=True)
    assert_refused(node, place, name, "is in no loras folder")


@pytest.mark.parametrize("fault", DAMAGED)
def test_damaged_metadata(fault, place):
    from fewstep.nodes import load

    save_file(pair(), place[1] / "bad.safetensors", metadata={"fewstep": DAMAGED[fault]})
    with pytest.raises(ValueError, match='FewStepLoadLora: "bad.safetensors".*metadata is damaged'):
        load.FewStepLoadLora().load(place[0], "bad.safetensors", 1.0, 4, 1.0)
    assert_usable(place)


def assert_usable(place):
    assert run("FewStepLoadLora", place[0], GOOD)


def test_a_partial_file_loads_when_allowed(place):
    from fewstep.nodes import load

    save_file({**pair(), "strange.lora_up.weight": torch.ones(2, 2), "strange.lora_down.weight": torch.ones(2, 2)},
              place[1] / "partial.safetensors")  # fmt: skip
    arguments = (place[0], "partial.safetensors", 1.0, 4, 1.0)
    with pytest.raises(ValueError, match="only 2 of 4 tensors"):
        load.FewStepLoadLora().load(*arguments, family="LCM-LoRA")
    text = load.FewStepLoadLora().load(*arguments, family="LCM-LoRA", allow_partial=True)[5]
    assert "2 tensors matched, 2 not (strange" in text


def weight_after(model) -> torch.Tensor:
    key = "diffusion_model.input_blocks.1.1.proj_in.weight"
    weight = model.model.state_dict()[key].clone()
    patches = model.patches.get(key, [])
    return model.calculate_weight(patches, weight, key) if patches else weight


@pytest.mark.parametrize("strengths", [(1.0,), (1.0, 1.0), (0.0,), (0.5, 0.25), ()])
def test_twice_removed_and_at_strength_0_as_the_stock_loader(strengths, place):
    import comfy.sd
    import comfy.utils
    from fewstep.host import folders
    from fewstep.nodes import load

    ours = theirs = place[0]
    with torch.inference_mode():
        for strength in strengths:
            ours = load.FewStepLoadLora().load(ours, GOOD, strength, 4, 1.0)[0]
            file = comfy.utils.load_torch_file(folders.full_path("loras", GOOD), safe_load=True)
            theirs = comfy.sd.load_lora_for_models(theirs, None, file, strength, 0.0)[0]
        assert torch.equal(weight_after(ours), weight_after(theirs))
        untouched = torch.equal(weight_after(ours), weight_after(place[0]))
    assert untouched == all(strength == 0 for strength in strengths)
