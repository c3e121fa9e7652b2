"""Rewards and the way to them: preprocessing, gradients, the decoder, local files."""

import pytest
import torch

pytest.importorskip("comfy", reason="the embedded host is not installed here")

from fewstep.tests.helpers.in_process import PROMPTS, short_lora
from fewstep.tests.helpers.lora_runs import METHODS, run
from fewstep.training.on_images import with_feedback
from fewstep.training.options import FeedbackOptions
from fewstep.training.rewards import head_layers, prepare
from safetensors.torch import save_file


@pytest.fixture
def reward_folder(tmp_path, monkeypatch):
    """A models folder with a random small CLIP and a head in it."""
    from fewstep.host import folders
    from transformers import CLIPConfig, CLIPModel

    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config={**small, "vocab_size": 49408},
        vision_config={**small, "image_size": 64, "patch_size": 16},
        projection_dim=16,
    )
    CLIPModel(config).save_pretrained(tmp_path / "small-clip", safe_serialization=True)
    save_file(
        {
            "layers.0.weight": torch.randn(8, 16),
            "layers.0.bias": torch.zeros(8),
            "layers.10.weight": torch.randn(1, 4),
            "layers.10.bias": torch.zeros(1),
            "layers.2.weight": torch.randn(4, 8),
            "layers.2.bias": torch.zeros(4),
        },
        tmp_path / "head.safetensors",
    )
    monkeypatch.setattr(folders, "reward_folder", lambda: tmp_path)
    return tmp_path


def rewards_of(node_argument="t"):
    from fewstep.host.rewards import clip

    return {
        "clip": lambda: clip.clip_similarity("small-clip", node_argument),
        "aesthetic": lambda: clip.aesthetic("small-clip", "head.safetensors", node_argument),
    }


def test_the_preprocessing_is_clips_own():
    """Against transformers' image processor, on a picture that must shrink."""
    from transformers import CLIPImageProcessor

    pixels = torch.rand(1, 3, 1, 1).expand(1, 3, 96, 96) * torch.linspace(0.2, 1, 96)
    own = prepare(pixels, 64)
    processor = CLIPImageProcessor(size={"shortest_edge": 64}, crop_size=64)
    theirs = processor((pixels[0].permute(1, 2, 0) * 255).round().byte().numpy(), return_tensors="pt")["pixel_values"]
    assert (own - theirs)[..., 2:-2].abs().max() < 0.05


@pytest.mark.parametrize("shape", [(96, 160), (150, 64), (64, 65)])
def test_a_picture_that_is_not_square_is_cropped_to_its_middle_as_clip_does(shape):
    from transformers import CLIPImageProcessor

    rows, columns = torch.linspace(0, 1, shape[0]), torch.linspace(0, 1, shape[1])
    pixels = torch.stack([rows[:, None].expand(shape), columns.expand(shape), rows[:, None] * columns])
    processor = CLIPImageProcessor(size={"shortest_edge": 48}, crop_size=48)
    picture = (pixels.permute(1, 2, 0) * 255).round().byte().numpy()
    theirs = processor(picture, return_tensors="pt")["pixel_values"]
    own = prepare(pixels[None], 48)
    assert own.shape == theirs.shape and (own - theirs)[..., 2:-2, 2:-2].abs().max() < 0.1


@pytest.mark.parametrize("kind", ["clip", "aesthetic"])
def test_a_step_along_the_gradient_raises_the_score(kind, reward_folder):
    with torch.inference_mode():  # as the host runs its nodes
        reward = rewards_of()[kind]()
    pictures = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0)).requires_grad_()
    before = reward(pictures, PROMPTS)
    (gradient,) = torch.autograd.grad(before.sum(), pictures)
    after = reward(pictures + 1e-3 * gradient / gradient.norm(), PROMPTS)
    assert before.shape == (2,) and (after.sum() > before.sum())


def test_the_decoder_is_the_hosts_with_a_gradient(tiny):
    from fewstep.host.rewards import clip

    model, _, vae = tiny
    latents = torch.randn(2, 4, 12, 12, generator=torch.Generator().manual_seed(0))
    decode = clip.decoder(model, vae, torch.device("cpu"))
    with torch.inference_mode():
        theirs = vae.decode(model.model.process_latent_out(latents))
    leaf = latents.requires_grad_()
    ours = decode(leaf)
    assert torch.allclose(ours.clamp(0, 1).movedim(1, -1), theirs.clone(), atol=1e-4)
    (gradient,) = torch.autograd.grad(ours.sum(), leaf)
    assert torch.isfinite(gradient).all() and gradient.abs().sum() > 0


def test_the_decoder_of_a_run_in_fp16_is_not_halved(tiny):
    """SDXL's VAE overflows in fp16; runs in bf16 may halve it."""
    from fewstep.host.rewards import clip

    latents, cpu = torch.randn(1, 4, 12, 12, generator=torch.Generator().manual_seed(0)), torch.device("cpu")
    exact = clip.decoder(*tiny[::2], cpu)(latents)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(clip.decoder(*tiny[::2], cpu, whole=True)(latents), exact)
        assert not torch.equal(clip.decoder(*tiny[::2], cpu)(latents), exact)


def test_after_a_run_the_networks_of_rewards_leave_the_gpu(tiny, tmp_path):
    """Outside inference mode, in which the host runs its nodes, or they could not be trained through again."""
    from fewstep.host.rewards.offload import offloaded

    class Noted(torch.nn.Linear):
        def to(self, device):
            self.moved = device, torch.is_inference_mode_enabled()
            return self

    network = offloaded(Noted(1, 1))
    short_lora(tiny, tmp_path, steps=1)
    assert network.moved == ("cpu", False)


def test_feedback_trains_on_the_wired_model_and_is_logged(tiny, tmp_path, reward_folder):
    with torch.inference_mode():
        reward = rewards_of()["clip"]()
    method = with_feedback(METHODS["SwiftBrush"](), FeedbackOptions(alpha=1.0, weight=0.1, reward=reward.name), reward)
    result, job = run(tiny, tmp_path / "run", method)
    assert all("reward" in record for record in result.metrics)
    assert reward.name in str(job.method.recipe())


@pytest.mark.parametrize(
    "make, message",
    [
        (
            lambda r: r.clip_similarity("none", "FewStepRewardCLIP"),
            "FewStepRewardCLIP: there is no 'none' in .*model.safetensors",
        ),
        (lambda r: r.clip_similarity("../escape", "FewStepRewardCLIP"), "leads out of"),
        (lambda r: r.clip_similarity("broken", "FewStepRewardCLIP"), "broken is no CLIP model"),
        (lambda r: r.aesthetic("small-clip", "bad.safetensors", "N"), 'N: "bad.safetensors": it holds no chain'),
        (lambda r: r.aesthetic("small-clip", "text.safetensors", "N"), 'N: "text.safetensors"'),
    ],
)
def test_absent_and_broken_files_get_a_sentence(make, message, reward_folder):
    from fewstep.host.rewards import clip

    (reward_folder / "broken").mkdir()
    (reward_folder / "broken" / "config.json").write_text("{not json")
    save_file({"a.weight": torch.zeros(2, 3)}, reward_folder / "bad.safetensors")
    (reward_folder / "text.safetensors").write_text("no tensors")
    with pytest.raises(ValueError, match=message):
        make(clip)


def test_prompts_are_encoded_once_and_the_memory_is_capped(monkeypatch):
    from fewstep.training import rewards

    asked = []

    def text(prompts):
        asked.extend(prompts)
        return torch.tensor([[float(len(prompt)), 1.0] for prompt in prompts])

    monkeypatch.setattr(rewards, "REMEMBERED", 2)
    reward = rewards.ClipSimilarity("t", lambda pixels: pixels.mean((2, 3))[:, :2], text, size=8)
    found = reward.features(["a", "bb", "a", "ccc"])  # more than it remembers, one of them twice
    assert asked == ["a", "bb", "ccc"] and list(reward.known) == ["bb", "ccc"]
    assert torch.equal(found[0], found[2]) and torch.allclose(found.norm(dim=1), torch.ones(4))
    assert torch.equal(reward.features(["ccc"])[0], found[3]) and len(asked) == 3
    assert torch.equal(reward.features(["a"])[0], found[0]) and asked[3:] == ["a"]


def test_a_sum_is_weighted_carries_both_gradients_and_skips_weight_0():
    from fewstep.training.rewards import RewardSum

    def bright(pictures, prompts):
        return pictures.mean((1, 2, 3))

    def red(pictures, prompts):
        return pictures[:, 0].mean((1, 2))

    def never(pictures, prompts):
        raise AssertionError("a reward of weight 0 was asked")

    bright.name, red.name, never.name = "bright", "red", "never"
    pictures = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    summed = RewardSum([(2.0, bright), (-0.5, red), (0.0, never)])
    scores = summed(pictures, PROMPTS[:2])
    (gradient,) = torch.autograd.grad(scores.sum(), pictures)
    assert torch.allclose(scores, 2 * bright(pictures, None) - 0.5 * red(pictures, None))
    assert torch.allclose(gradient[:, 0], torch.tensor(2 / 48 - 0.5 / 16)) and torch.allclose(
        gradient[:, 1:], torch.tensor(2 / 48)
    )
    assert summed.name == "2 x (bright) + -0.5 x (red) + 0 x (never)"


def test_rewards_on_one_folder_share_its_network_and_no_global_keeps_it(reward_folder):
    import gc

    from fewstep.host.rewards.clip import CLIP_FOLDERS

    made = rewards_of()
    clip, aesthetic = made["clip"](), made["aesthetic"]()
    assert clip.image.__self__ is aesthetic.image.__self__
    clip(torch.rand(1, 3, 64, 64), ["a"])
    assert aesthetic.image.__self__.loaded is not None and len(CLIP_FOLDERS) == 1
    del clip, aesthetic, made
    gc.collect()
    assert len(CLIP_FOLDERS) == 0


def test_the_layers_of_a_head_come_in_their_own_order():
    tensors = {
        f"layers.{n}.{part}": torch.zeros(*shape)
        for n, w in ((0, (4, 8)), (10, (1, 2)), (2, (2, 4)))
        for part, shape in (("weight", w), ("bias", w[:1]))
    }
    assert [tuple(weight.shape) for weight, _ in head_layers(tensors)] == [(4, 8), (2, 4), (1, 2)]


def test_the_score_node_gives_a_number_for_each_picture(reward_folder):
    from fewstep.host import headless  # noqa: F401 (starts the host's modules)
    from fewstep.nodes.rewards import FewStepScore

    with torch.inference_mode():
        shown = FewStepScore().score(rewards_of()["clip"](), torch.rand(3, 64, 64, 3), "a")
    mean, text = shown["result"]
    assert len(text.splitlines()) == 4 and -1 <= mean <= 1
