"""Students of SD2.x and SDXL inside the embedded host: trained, written, loaded again, and the same to the bit."""

import pytest
import torch
from fewstep.tests.helpers.full_runs import OTHERS, drawn, run, weights
from fewstep.tests.helpers.in_process import PROMPTS, FakeText, bits
from fewstep.tests.helpers.small_models import random_sdxl
from fewstep.tests.helpers.tiny_sd2 import random_sd2
from fewstep.training.state import RunFolder
from safetensors import safe_open

OPENCLIP = {
    "hidden_size": 1024, "intermediate_size": 64, "num_attention_heads": 16, "num_hidden_layers": 3,
    "hidden_act": "gelu", "layer_norm_eps": 1e-5, "max_position_embeddings": 77, "vocab_size": 49408,
    "architectures": ["CLIPTextModel"], "model_type": "clip_text_model", "projection_dim": 1024,
    "bos_token_id": 0, "eos_token_id": 49407, "pad_token_id": 1,
}  # fmt: skip


class OpenCLIP:
    """SD2.x's text as the host makes it, by three random layers of its width: the last but one's, padded with zeros."""

    def __init__(self):
        from comfy import sd1_clip
        from comfy import supported_models as supported

        self.tokenize = supported.sd2_clip.SD2Tokenizer().tokenize_with_weights
        zeros = {"start": 49406, "end": 49407, "pad": 0}
        torch.manual_seed(0)
        with torch.inference_mode():
            self.model = sd1_clip.SDClipModel(
                layer="hidden", layer_idx=-2, textmodel_json_config=OPENCLIP, special_tokens=zeros, dtype=torch.float32
            )
            for parameter in self.model.parameters():
                torch.nn.init.normal_(parameter, std=0.05)

    def encode_from_tokens(self, tokens, return_pooled=True):
        return self.model.encode_token_weights(tokens["h"])[:2]


@pytest.fixture(scope="module")
def wired(tiny):
    """{base: (MODEL, CLIP, VAE)}. From here on this process's host knows their files, as the tests' server does."""
    return {"SD2.x": (random_sd2(), OpenCLIP(), None), "SDXL": (random_sdxl(), FakeText(), None)}


def kept(folder) -> dict[str, torch.Tensor]:
    """The student as it was trained, out of the run's state."""
    _, state = RunFolder(folder / "output" / "fewstep_runs" / "full").load()
    return {k.removeprefix("role.student."): t for k, t in state.items() if k.startswith("role.student.")}


@pytest.fixture
def trained(wired, tmp_path, request):
    """(wired, result, job) of two real steps on that base; the moving average is off, so the student is kept."""
    name, options = request.param
    before = bits(wired[name][0])
    result, job = run(wired[name], tmp_path, OTHERS["LCM"](), steps=2, ema_decay=0.0, **options)
    assert all(torch.equal(before[key], tensor) for key, tensor in bits(wired[name][0]).items())
    assert all(record["student_gradient"] > 0 for record in result.metrics)
    return wired[name], result, job


def each_base(**options):
    bases = [(name, options) for name in ("SD2.x", "SDXL")]
    return pytest.mark.parametrize("trained", bases, indirect=True, ids=lambda pair: pair[0])


def architecture(file) -> str:
    with safe_open(file, "pt") as found:
        return found.metadata()["modelspec.architecture"]


def assert_the_same(trained, loaded) -> None:
    """The MODEL that FewStepDistill gives and the loader's draw the same latents, and not the teacher's."""
    from fewstep.host.training import export

    (model, clip, _), result, job = trained
    with torch.inference_mode():
        student = export.student_model(job, result.tensors)
    ours = drawn(student, clip, *loaded[2:4])
    assert torch.isfinite(ours).all() and torch.equal(ours, drawn(loaded[0], clip, *loaded[2:4]))
    assert not torch.allclose(ours, drawn(model, clip, *loaded[2:4]), atol=1e-2)


@each_base(train="lora", learning_rate=1e-2)
def test_a_loras_file_is_the_student(trained, tmp_path, monkeypatch):
    from fewstep.host import folders
    from fewstep.nodes.load import FewStepLoadLora
    from fewstep.weights import io

    (model, _, _), result, job = trained
    file = tmp_path / "loras" / result.name
    assert all(torch.equal(tensor, result.tensors[key]) for key, tensor in io.load(file)[0].items())
    ups = [tensor for key, tensor in kept(tmp_path).items() if "lora_B" in key]
    written = [tensor for key, tensor in result.tensors.items() if key.endswith("lora_up.weight")]
    assert len(ups) == len(written) and {t.sum().item() for t in ups} == {t.sum().item() for t in written}
    monkeypatch.setattr(folders, "full_path", lambda kind, name: str(file))
    with torch.inference_mode():
        loaded = FewStepLoadLora().load(model, "student.safetensors", 1.0, 4, 1.0)["result"]
    assert "sampler lcm" in loaded[5] and ", 0 not" in loaded[5]
    assert_the_same(trained, (loaded[0], None, *loaded[2:]))
    wanted = "stable-diffusion-v2-768-v" if job.model.model.model_config.unet_config["context_dim"] == 1024 else "xl"
    assert wanted in architecture(file)


@each_base(train="full", learning_rate=1e-3)
def test_a_whole_networks_file_is_the_student(trained, tmp_path, monkeypatch):
    from fewstep.host.loading import models
    from fewstep.nodes.load_model import FewStepLoadModel

    (model, _, _), result, job = trained
    file = tmp_path / "networks" / result.name
    assert all(torch.equal(tensor, result.tensors[key]) for key, tensor in kept(tmp_path).items())
    monkeypatch.setattr(models, "find", lambda _: str(file))
    with torch.inference_mode():
        loaded = FewStepLoadModel().load("student.safetensors", 4, 1.0, 8.0, "auto", False)["result"]
    mine = weights(loaded[0])
    assert mine.keys() == result.tensors.keys() and all(torch.equal(t, result.tensors[k]) for k, t in mine.items())
    assert type(loaded[0].model) is type(model.model)
    assert_the_same(trained, (*loaded[:2], *loaded[3:5]))


def test_the_small_sd2_is_one(wired):
    """Context 1024 from the last but one layer of its own tokens, linear projections, v-prediction from the weights."""
    from comfy import model_sampling
    from fewstep.host import conditioning, model_copy

    model, clip, _ = wired["SD2.x"]
    cond = conditioning.encode_prompts(model, clip, PROMPTS[:1], 96, 96)[0]
    assert cond.keys() == {"c_crossattn"} and cond["c_crossattn"].shape == (1, 77, 1024)
    assert [pair[0] for pair in clip.tokenize("")["h"][0]][:4] == [49406, 49407, 0, 0]
    assert isinstance(model.get_model_object("model_sampling"), model_sampling.V_PREDICTION)
    assert isinstance(model.model.diffusion_model.input_blocks[1][1].proj_in, torch.nn.Linear)
    y, sigma = torch.randn((1, 4, 12, 12), generator=torch.Generator().manual_seed(0)) * 3, torch.tensor([3.0])
    copy = model_copy.TrainingCopy(model)
    with torch.inference_mode(False), torch.no_grad():
        v = copy.net(y / 10**0.5, copy.sampling.timestep(sigma), context=cond["c_crossattn"])
        assert torch.allclose(copy.denoise(y, sigma, cond), y / 10 - v * 3 / 10**0.5, atol=1e-4)
        other = conditioning.encode_prompts(model, clip, PROMPTS[1:], 96, 96)[0]
        assert not torch.allclose(copy.denoise(y, sigma, other), copy.denoise(y, sigma, cond), atol=1e-4)
