"""Models interpolated by the host's patches, against the same by hand; what a recipe says of a MODEL's file."""

import hashlib

import pytest
import torch

pytest.importorskip("comfy", reason="the embedded host is not installed here")

from fewstep.tests.helpers.format_files import factors

GROUPS = ("input_blocks", "middle_block", "output_blocks", "rest")


def patched(model, seed: int, strength: float):
    """A clone with a LoRA on every layer, and its weights by hand: W + strength up down."""
    from fewstep.host.loading import loras

    file, weights = {}, {k: w.clone() for k, w in model.model_state_dict("diffusion_model.").items()}
    generator = torch.Generator().manual_seed(seed)
    for (host, diffusers), (up, down) in factors(model).items():
        up, down = (torch.randn(part.shape, generator=generator) * 0.1 for part in (up, down))
        name = "lora_unet_" + diffusers.replace(".", "_")
        file[f"{name}.lora_up.weight"], file[f"{name}.lora_down.weight"] = up, down
        key = f"diffusion_model.{host}.weight"
        weights[key] += strength * (up.flatten(1) @ down.flatten(1)).view(weights[key].shape)
    return loras.apply(model, None, file, strength)[0], weights


def baked(model) -> dict[str, torch.Tensor]:
    weights = model.model_state_dict("diffusion_model.")
    with torch.inference_mode():
        return {
            key: model.calculate_weight(model.patches[key], w.clone(), key) if key in model.patches else w
            for key, w in weights.items()
        }


@pytest.mark.parametrize("base", ["tiny", "sdxl"])
@pytest.mark.parametrize(
    "lambdas", [(0.3,) * 4, (0.0,) * 4, (-0.5,) * 4, (1.6,) * 4, (0.2, 1.3, -0.4, 0.5)], ids=lambda x: str(x)
)
def test_patched_models_are_interpolated_as_by_hand(lambdas, base, bases):
    from fewstep.host.loading import merging

    (a, theirs_a), (b, theirs_b) = patched(bases[base], 1, 0.8), patched(bases[base], 2, -0.5)
    weights = dict(zip(GROUPS, lambdas))
    made = baked(merging.interpolated(a, b, weights, "test"))
    for key, one in theirs_a.items():
        part = key.split(".")[1]
        share = weights[part if part in weights else "rest"]
        assert torch.allclose(made[key], share * one + (1 - share) * theirs_b[key], atol=1e-4), key


def test_a_recipe_names_the_file_of_a_model_until_it_changes(bases, tmp_path):
    from fewstep.host.loading import saving

    path, model = tmp_path / "base.safetensors", bases["tiny"].clone()
    path.write_bytes(b"weights")
    plain = saving.parent(model)
    assert plain.keys() == {"fingerprint", "patched"} and plain["patched"] == 0
    clone = saving.note_file(model, "base.safetensors", str(path)).clone()
    known = {"name": "base.safetensors", "sha256": hashlib.sha256(b"weights").hexdigest()}
    assert saving.parent(clone) == {**known, **plain}
    on_top = saving.parent(patched(clone, 1, 1.0)[0])
    assert on_top["sha256"] == known["sha256"] and on_top["patched"] > 50
    path.write_bytes(b"other weights")
    assert saving.parent(clone) == plain


def test_a_lora_that_cannot_be_saved_as_asked_is_refused(monkeypatch, tmp_path):
    """Whole students give an empty LORA_MODEL; fp16 would make an infinite number of a large one."""
    from fewstep.host import folders
    from fewstep.nodes.merge import FewStepSaveLora

    monkeypatch.setattr(folders, "own_folder", lambda kind: tmp_path)
    large = {"m.lora_up.weight": torch.full((2, 1), 1e6), "m.lora_down.weight": torch.ones(1, 2)}
    for lora, message in (({}, "lora holds no weights"), (large, "m.lora_up.weight holds numbers too large for .*16")):
        with pytest.raises(ValueError, match=f"FewStep Save LoRA: {message}"):
            FewStepSaveLora().save(lora, "made", "fp16", False)
    assert not list(tmp_path.rglob("*.safetensors"))
