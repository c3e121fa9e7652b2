"""Bad LoRA files: each gives a sentence that names the node and the file, and leaves host and model as they were."""

import pickle

import pytest
import torch
from fewstep.tests.helpers.bad_files import (
    LOHA,
    LOHA_CORES,
    LOKR,
    LOKR_CORE,
    METADATA,
    MODULE,
    NAMES,
    NO_SAFETENSORS,
    ON_THE_MODEL,
    PEFT,
    TENSORS,
    TUCKER,
    module,
    pair,
)
from fewstep.weights import sizes
from safetensors.torch import save_file

pytest.importorskip("comfy", reason="the embedded host is not installed here")

GOOD = "fewstep-tiny-sd-lcm-lora.safetensors"


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
        assets = Path(__file__).resolve().parents[2] / "assets"
        yield headless.load_checkpoint(assets / "checkpoints" / "fewstep-tiny-sd.safetensors")[0], folder


def run(node: str, model, name: str):
    from fewstep.nodes import load, merge

    if node == "FewStep Load LoRA":
        return load.FewStepLoadLora().load(model, name, 1.0, 4, 1.0, family="LCM-LoRA")["result"]
    if node == "FewStep Interpolate LoRAs":
        return merge.FewStepInterpolateLoras().merge(name, GOOD, 0.5, 0)["result"]
    return merge.FewStepCombineLoras().merge(GOOD, name, 1.0, 0.8, 0)["result"]


def assert_refused(node, place, name, message):
    """A sentence with the node's and the file's name; the model's weights keep their bits, a good file still works."""
    model, _ = place
    before = {key: tensor.clone() for key, tensor in model.model.state_dict().items()}
    with pytest.raises(ValueError, match=message) as caught:
        run(node, model, name)
    assert str(caught.value).startswith(f"{node}: ") and name in str(caught.value)
    assert not model.patches
    after = model.model.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert run(node, model, GOOD)


NODES = ["FewStep Load LoRA", "FewStep Interpolate LoRAs", "FewStep Combine LoRAs"]


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
    assert_refused("FewStep Load LoRA", place, "bad.safetensors", message)


KERNEL = "lora_unet_down_blocks_0_resnets_0_conv1"  # [64, 64, 3, 3]; MODULE is a matrix


@pytest.mark.parametrize(
    "parts, name",
    [(LOHA, MODULE), (LOKR, MODULE), (LOHA_CORES, KERNEL), (TUCKER, KERNEL)],
    ids=["LoHa", "LoKr", "LoHa with cores", "Tucker"],
)
def test_a_lycoris_module_that_fits_changes_the_hosts_weight(parts, name, place):
    from fewstep.nodes import load

    save_file(module(parts, name), place[1] / "lycoris.safetensors")
    patched = load.FewStepLoadLora().load(place[0], "lycoris.safetensors", 1.0, 4, 1.0, family="LCM-LoRA")["result"][0]
    (key,) = patched.patches
    weight = patched.model.state_dict()[key].float().clone()
    changed = patched.calculate_weight(patched.patches[key], weight.clone(), key)
    assert changed.isfinite().all() and (changed != weight).float().mean() > 0.99


def test_a_lokr_kernel_has_the_shape_of_its_weight():
    assert sizes.shape_of({part: torch.empty(shape) for part, shape in LOKR_CORE.items()}) == (64, 64, 3, 3)


def test_a_lokr_kernel_that_the_host_leaves_is_not_counted_as_loaded(place):
    """torch.kron refuses what the embedded host's einsum gives; a host that can add it counts it."""
    from fewstep.host.loading import loras

    file = {**module(LOKR_CORE, KERNEL), **pair()}
    match = loras.match(place[0], None, loras.fitted(place[0], file))
    patched = loras.apply(place[0], None, {k: t for k, t in file.items() if k.startswith(KERNEL)}, 1.0)[0]
    (key,) = patched.patches
    added = patched.calculate_weight(patched.patches[key], torch.zeros(64, 64, 3, 3), key).any()
    assert (KERNEL in match.matched) == bool(added) and MODULE in match.matched
    assert match.tensors == ((6, 0) if added else (2, 4))


@pytest.mark.parametrize(
    "parts, shape, fits",
    [
        ({"lora_up.weight": (64, 4), "lora_down.weight": (4, 32)}, (64, 32), True),
        ({"lora_up.weight": (32, 4), "lora_down.weight": (4, 64)}, (64, 32), False),
        ({"lora_up.weight": (64, 4, 1, 1), "lora_down.weight": (4, 32, 1, 1)}, (64, 32), True),
        ({"lora_up.weight": (64, 4), "lora_down.weight": (4, 32)}, (64, 32, 1, 1), True),
        ({"lora_up.weight": (32, 4), "lora_down.weight": (4, 64)}, (64, 32, 1, 1), False),
        ({"diff": (32, 64)}, (64, 32), False),
        ({"diff": (64, 32)}, (64, 32, 1, 1), False),  # the host adds differences of the very shape alone
        ({"hada_w1_a": (32, 4), "hada_w1_b": (4, 64), "hada_w2_a": (32, 4), "hada_w2_b": (4, 64)}, (64, 32), False),
        ({"lokr_w1": (4, 8), "lokr_w2": (8, 8)}, (32, 64), True),
        ({"lokr_w1": (4, 8), "lokr_w2": (8, 8)}, (64, 32), False),
        ({"lokr_w1": (4, 8), "lokr_w2": (8, 8, 3, 3)}, (32, 64, 3, 3), True),
        ({"of_tomorrow": (3,)}, (64, 32), True),
    ],
)
def test_a_delta_fits_a_weight_of_its_own_shape_and_no_transposed_one(parts, shape, fits):
    assert sizes.fits({part: torch.empty(size) for part, size in parts.items()}, shape) is fits


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("name", NAMES)
def test_names_that_are_no_listed_weights(name, node, place):
    (place[1] / "folder.safetensors").mkdir(exist_ok=True)
    if name.startswith("weights"):
        (place[1] / name).write_bytes(pickle.dumps({"weight": [1.0]}))
    assert_refused(node, place, name, NAMES[name])


@pytest.mark.parametrize("fault", METADATA)
def test_damaged_metadata(fault, place):
    from fewstep.nodes import load

    metadata, message = METADATA[fault]
    save_file(PEFT, place[1] / "bad.safetensors", metadata=metadata)
    with pytest.raises(ValueError, match=f'FewStep Load LoRA: "bad.safetensors".*{message}'):
        load.FewStepLoadLora().load(place[0], "bad.safetensors", 1.0, 4, 1.0)["result"]
    assert_usable(place)


def test_the_table_is_as_long_as_it_claims():
    """Distinct faults of LoRA files, each met by one to three nodes; whole models have their own in test_bad_models."""
    assert len(NO_SAFETENSORS) + len(TENSORS) + len(ON_THE_MODEL) + len(METADATA) + len(NAMES) >= 80


def assert_usable(place):
    assert run("FewStep Load LoRA", place[0], GOOD)


def test_a_partial_file_loads_when_allowed(place):
    from fewstep.nodes import load

    save_file({**pair(), "strange.lora_up.weight": torch.ones(2, 2), "strange.lora_down.weight": torch.ones(2, 2)},
              place[1] / "partial.safetensors")  # fmt: skip
    arguments = (place[0], "partial.safetensors", 1.0, 4, 1.0)
    with pytest.raises(ValueError, match="only 2 of 4 tensors"):
        load.FewStepLoadLora().load(*arguments, family="LCM-LoRA")["result"]
    text = load.FewStepLoadLora().load(*arguments, family="LCM-LoRA", allow_partial=True)["result"][5]
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
            ours = load.FewStepLoadLora().load(ours, GOOD, strength, 4, 1.0)["result"][0]
            file = comfy.utils.load_torch_file(folders.full_path("loras", GOOD), safe_load=True)
            theirs = comfy.sd.load_lora_for_models(theirs, None, file, strength, 0.0)[0]
        assert torch.equal(weight_after(ours), weight_after(theirs))
        untouched = torch.equal(weight_after(ours), weight_after(place[0]))
    assert untouched == all(strength == 0 for strength in strengths)
