"""Bad model files: each gives a sentence that names the node and the file, and leaves the host as it was."""

import pickle

import pytest
import torch
from fewstep.tests.helpers.bad_files import METADATA, NAN, NO_SAFETENSORS, filled, pair
from safetensors.torch import load_file, save_file

pytest.importorskip("comfy", reason="the embedded host is not installed here")

GOOD = "fewstep-tiny-sd.safetensors"
UNET = "model.diffusion_model."
LAYER = f"{UNET}input_blocks.1.0.in_layers.2.weight"


def network(tensors: dict) -> dict:
    return {key: tensor for key, tensor in tensors.items() if key.startswith(UNET)}


def without(part: str):
    return lambda tensors: {key: tensor for key, tensor in tensors.items() if part not in key}


def changed(key: str, change):
    return lambda tensors: {**tensors, key: change(tensors[key])}


def vae_only(tensors: dict) -> dict:
    return {key: tensor for key, tensor in tensors.items() if key.startswith("first_stage_model.")}


def projected(width: int):
    return lambda tensors: {**network(tensors), f"{UNET}time_embed.cond_proj.weight": torch.ones(width, 256)}


def diffusers_part(*names: str):
    return lambda tensors: {name: torch.ones(4, 4, 3, 3) for name in names}


FAULTS = {  # {what: (edit of the tiny base's tensors, part of the sentence)}
    "NaN in the network": (changed(LAYER, lambda t: filled(t, NAN)), "NaN or infinite"),
    "infinite in the network": (changed(LAYER, lambda t: filled(t, -float("inf"))), "NaN or infinite"),
    "NaN in fp8": (changed(LAYER, lambda t: filled(t.to(torch.float8_e4m3fn), NAN)), "NaN or infinite"),
    "NaN in bf16": (changed(LAYER, lambda t: filled(t.bfloat16(), NAN)), "NaN or infinite"),
    "NaN in the VAE": (
        lambda tensors: {k: filled(t, NAN) if k.startswith("first_stage_model.") else t for k, t in tensors.items()},
        "NaN or infinite",
    ),
    "no tensors": (lambda tensors: {}, "holds no diffusion model"),
    "a LoRA": (lambda tensors: pair(), "holds no diffusion model"),
    "a VAE alone": (vae_only, "is not known to this host, or is damaged"),
    "an embedding": (lambda tensors: {"emb_params": torch.ones(2, 768)}, "is not known to this host, or is damaged"),
    "a ControlNet of diffusers": (
        diffusers_part("down_blocks.0.resnets.0.conv1.weight", "controlnet_cond_embedding.conv_in.weight"),
        "is a ControlNet",
    ),
    "a ControlNet of ldm": (
        diffusers_part("control_model.input_blocks.0.0.weight", "down_blocks.0.x.weight"),
        "is a ControlNet",
    ),
    "half of its blocks": (without("output_blocks"), ""),
    "no first layer": (without("input_blocks.0.0"), ""),
    "no biases": (lambda tensors: without(".bias")(network(tensors)), "tensors fit"),
    "renamed blocks": (
        lambda tensors: {k.replace("middle_block", "central_block"): t for k, t in network(tensors).items()},
        "",
    ),
    "sizes of another model": (
        lambda tensors: {k: t[:-1].contiguous() if "middle_block" in k else t for k, t in tensors.items()},
        "",
    ),
    "a single layer": (lambda tensors: {LAYER: tensors[LAYER]}, ""),
    "a guidance projection of another width": (projected(7), "guidance projection of 7 channels"),
    "half a U-Net in diffusers' names": (diffusers_part("down_blocks.0.resnets.0.conv1.weight", "conv_in.weight"), ""),
    "10,000 keys": (lambda tensors: {f"{UNET}extra.{i}.weight": torch.ones(1) for i in range(10_000)}, ""),
    "10,000 keys too many": (
        lambda tensors: {**tensors, **{f"{UNET}extra.{i}.weight": torch.ones(1) for i in range(10_000)}},
        "tensors fit the network",
    ),
}
MISLABELLED = {  # {name: (edit, part of the sentence)}, with no family chosen
    "holiday.safetensors": (network, "no known name"),
    "lcm-sdxl-unet.safetensors": (network, "named like an LCM model but has no guidance embedding"),
    "LCM_Dreamshaper_v7.safetensors": (network, "named like an LCM model but has no guidance embedding"),
    "sdxl_lightning_4step-00001-of-00002.safetensors": (network, "one part of several"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoints folder of the host in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COMFYUI_DIR", raising=False)
        from fewstep.host import folders, headless

        headless.start(workdir=tmp_path_factory.mktemp("bad-models"))
        made = tmp_path_factory.mktemp("checkpoints")
        folders.folder_paths.add_model_folder_path("checkpoints", str(made))
        yield made


@pytest.fixture(scope="module")
def good():
    from fewstep.host import folders

    return load_file(folders.ASSETS / "checkpoints" / GOOD)


def load(name: str, family: str = "SD/SDXL-Turbo"):
    from fewstep.nodes.load_model import FewStepLoadModel

    with torch.inference_mode():
        return FewStepLoadModel().load(name, 4, 1.0, 8.0, family, False)["result"]


def interpolate(name: str):
    from fewstep.nodes.merge_models import FewStepInterpolateFiles

    return FewStepInterpolateFiles().merge(
        checkpoint_a=name, checkpoint_b=GOOD, weight=0.5, name="made", keep_others=False, overwrite=True
    )


def assert_refused(run, node: str, name: str, message: str = "") -> None:
    """A sentence with the node's and the file's name; afterwards the good file loads, unpatched."""
    with pytest.raises(ValueError) as caught:
        run()
    said = str(caught.value)
    assert said.startswith(f"{node}: ") and name in said and message in said and len(said) < 1500
    if node == "FewStep Load Model":
        model = load(GOOD)[0]
        with torch.no_grad():
            assert not model.patches and torch.isfinite(model.model.diffusion_model.out[2].weight).all()


def assert_nothing_was_written() -> None:
    from fewstep.host import folders

    made = folders.own_folder("checkpoints") / "fewstep"
    assert not made.exists() or not list(made.iterdir())


NODES = {"FewStep Load Model": load, "FewStep Interpolate Files": interpolate}


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("fault", NO_SAFETENSORS)
def test_no_safetensors_file(fault, node, folder):
    (folder / "bad.safetensors").write_bytes(NO_SAFETENSORS[fault])
    assert_refused(lambda: NODES[node]("bad.safetensors"), node, "bad.safetensors")
    assert_nothing_was_written()


@pytest.mark.parametrize("fault", FAULTS)
def test_unusable_models(fault, folder, good):
    edit, message = FAULTS[fault]
    save_file(edit(good), folder / "bad.safetensors")
    assert_refused(lambda: load("bad.safetensors"), "FewStep Load Model", "bad.safetensors", message)


@pytest.mark.parametrize("name", MISLABELLED)
def test_mislabelled_models(name, folder, good):
    edit, message = MISLABELLED[name]
    save_file(edit(good), folder / name)
    assert_refused(lambda: load(name, "auto"), "FewStep Load Model", name, message)


@pytest.mark.parametrize("fault", [fault for fault in METADATA if not fault.startswith("PEFT")])
def test_damaged_metadata(fault, folder, good):
    metadata, message = METADATA[fault]
    save_file(good, folder / "bad.safetensors", metadata=metadata)
    assert_refused(lambda: load("bad.safetensors", "auto"), "FewStep Load Model", "bad.safetensors", message)


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("name", ["gone.safetensors", "../gone.safetensors", "/etc/passwd", "folder.safetensors"])
def test_names_that_are_no_listed_model(name, node, folder):
    (folder / "folder.safetensors").mkdir(exist_ok=True)
    assert_refused(lambda: NODES[node](name), node, name, "is in no checkpoints")


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("name", ["model.ckpt", "model.pt", "model.bin"])
def test_pickles_are_never_opened(name, node, folder):
    (folder / name).write_bytes(pickle.dumps({"state_dict": {}}))
    assert_refused(lambda: NODES[node](name), node, name, "is not a .safetensors file")


def test_a_good_pair_is_interpolated_after_all_that(folder):
    from fewstep.host import folders

    (listed,) = interpolate(GOOD)
    made = load_file(folders.own_folder("checkpoints") / listed)
    base = load_file(folders.ASSETS / "checkpoints" / GOOD)
    assert made.keys() == base.keys() and all(torch.equal(made[key], base[key]) for key in base)
