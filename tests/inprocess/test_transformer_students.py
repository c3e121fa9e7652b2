"""Students of transformers, on small random models of the host's own classes: the terms and the loop of U-Nets.

The embedded host knows SD3 alone; the others run where their class exists (see small_models.py).
"""

import pytest
import torch
from fewstep.tests.helpers import small_models
from fewstep.training import methods
from fewstep.training.config import TrainConfig
from fewstep.training.options import ConsistencyOptions, DMDOptions, ScoreOptions, TSCDOptions

PROMPTS = ("a red apple", "a blue car, a prompt of more tokens than the other")
FAMILIES = ("SD3", "Flux", "FLUX.2", "Qwen-Image", "Z-Image", "Wan", "Wan 2.2 5B", "Anima")
SIZE = (64, 96)  # pixels, height and width: latents of 8 x 12
# Learning rate, and what the loss falls to: in two, an image token has more numbers than the small network is wide.
LEARNS = {"SD3": (1e-2, 0.3), "Flux": (1e-2, 0.3), "FLUX.2": (3e-3, 0.8), "Wan 2.2 5B": (1e-3, 0.98)}
LCM = ConsistencyOptions(skip=200, guidance_min=2.0, guidance_max=2.0, loss="l2")
JUMP = ConsistencyOptions(boundary=False, end="random", skip=100, guidance_min=2.0, guidance_max=2.0)
SCORE = ScoreOptions(timesteps=(999, 499), guidance=2.0)
METHODS = {
    "LCM": lambda: methods.lcm(LCM),
    "TSCD": lambda: methods.tscd(
        TSCDOptions(segments=(2,), phase_steps=(2,), distance=(1.0,), adversarial=(0.1,), consistency=JUMP)
    ),
    "DMD": lambda: methods.dmd(DMDOptions(score=SCORE, student_every=2, regression_weight=0.5, regression_steps=2)),
}


class Text:
    """A text encoder of the small models' widths, with Anima's second text. A prompt's length counts, as a long one's
    does in T5."""

    def __init__(self, alike: bool = False):
        self.alike = alike

    def tokenize(self, text):
        return text

    def encode_from_tokens(self, tokens, return_pooled=True, return_dict=True):
        generator = torch.Generator().manual_seed(len(tokens))
        length = 12 if self.alike or len(tokens) < 20 else 17
        return {
            "cond": torch.randn(1, length, 32, generator=generator),
            "pooled_output": torch.randn(1, 32, generator=generator),
            "t5xxl_ids": torch.randint(32128, (length // 2,), generator=generator, dtype=torch.int),
            "t5xxl_weights": torch.rand(length // 2, generator=generator),
        }


def conditioning_of(prompt: str, **options) -> list:
    """CONDITIONING as the stock CLIPTextEncode gives it."""
    found = Text().encode_from_tokens(prompt)
    return [[found.pop("cond"), {**found, **options}]]


@pytest.fixture(scope="module", params=FAMILIES)
def model(request, tmp_path_factory):
    small_models.start(tmp_path_factory.mktemp("transformer-students"))
    made = small_models.make(request.param)
    if made is None:
        pytest.skip(f"this host has no {request.param}")
    return made


def given_data(model, count: int = 4, frames: tuple[int, ...] = ()):
    """LATENT and CONDITIONING lists as the host's nodes give them: pictures, or clips; the guidance is Flux's."""
    from fewstep.host import architectures
    from fewstep.host.data import from_host

    channels, *_, height, width = architectures.latent_shape(model, *SIZE)
    latents = torch.randn(count, channels, *frames, height, width, generator=torch.Generator().manual_seed(5))
    return from_host.read([{"samples": latents}], [conditioning_of(PROMPTS[0], guidance=2.5)])


def run(model, folder, method, steps=2, text=None, data=None, **options):
    """(result, job, roles) of a few real steps through the function behind FewStepDistill."""
    from fewstep.host import folders
    from fewstep.host.data import dataset
    from fewstep.host.training import roles, run
    from fewstep.host.training.job import Job

    spec = dataset.DataSpec(PROMPTS, None, SIZE[1], SIZE[0], 4, 2, 2.0, host_data=data)
    settings = {"batch_size": 2, "rank": 4, "alpha": 4.0, "learning_rate": 1e-2}
    kept, make = [], roles.roles_of
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folders, "output_folder", lambda: folder / "output")
        patch.setattr(folders, "lora_folder", lambda: folder / "loras")
        patch.setattr(roles, "roles_of", lambda *a: kept.append(make(*a)) or kept[0])
        with torch.inference_mode():  # as the host runs its nodes
            config = TrainConfig(steps=steps, **{**settings, **options})
            job = Job(model, text or Text(), None, spec, method, config, folder.name, [])
            return run.distil(job), job, kept[0]


def fixed_batch(model, count=8):
    from fewstep.host.data import dataset
    from fewstep.training.data import make_batch

    spec = dataset.DataSpec((), None, SIZE[1], SIZE[0], 4, 2, 2.0, host_data=given_data(model))
    examples = dataset.build(spec, dataset.Maker(model, Text(), None, 0, None))
    return make_batch(examples, 0, 0, count, torch.device("cpu"))


def base_of(model) -> str:
    from fewstep.host import architectures

    return architectures.of(model).base


def bits(model) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.model.state_dict().items()}


def same(ours: dict, theirs: dict) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(tensor, theirs[key]) for key, tensor in ours.items())


def student_of(model, tensors: dict):
    """The training copy of the MODEL with the file on it, by the host's own loading."""
    from fewstep.host import model_copy
    from fewstep.host.loading import loras

    return model_copy.TrainingCopy(loras.apply(model, None, loras.fitted(model, tensors), 1.0)[0])


@pytest.mark.parametrize("name", METHODS)
def test_every_kind_of_method_trains_and_leaves_the_wire_alone(name, model, tmp_path):
    before = bits(model)
    result, _, _ = run(model, tmp_path, METHODS[name]())
    assert same(bits(model), before)
    assert len(result.metrics) == 2 and all(torch.isfinite(t).all() for t in result.tensors.values())
    assert any(t.abs().sum() > 0 for key, t in result.tensors.items() if key.endswith("lora_up.weight"))
    assert "activations unknown" not in result.estimate


def test_the_loss_falls_on_a_fixed_batch(model, tmp_path, monkeypatch):
    """LCM on the host's own latents and conditionings: the guidance that Flux reads, the pooled text of both."""
    from fewstep.training import loop

    make, seen = loop.make_batch, []

    def fixed(examples, seed, start, *rest, **more):
        seen.append(make(examples, seed, 0, *rest, **more))
        return seen[-1]

    monkeypatch.setattr(loop, "make_batch", fixed)
    rate, share = LEARNS.get(base_of(model), (3e-3, 0.3))
    result, _, _ = run(model, tmp_path, METHODS["LCM"](), steps=20, data=given_data(model), learning_rate=rate)
    losses = [record["loss"] for record in result.metrics]
    assert losses[-1] < share * losses[0] and torch.equal(seen[0].noise, seen[-1].noise)
    assert seen[0].x0.shape[1] == model.model.latent_format.latent_channels and seen[0].cond.get(
        "y", torch.zeros(2, 32)
    ).shape == (2, 32)
    assert seen[0].cond.get("guidance", torch.tensor([2.5, 2.5])).tolist() == [2.5, 2.5]


def test_the_file_is_the_student_that_was_trained(model, tmp_path):
    """Every tensor is known to the host by name, and its MODEL with the file on it gives the trained student's x0."""
    from fewstep.host import folders
    from fewstep.host.loading import loras
    from fewstep.nodes.load import FewStepLoadLora

    result, job, roles = run(model, tmp_path, METHODS["LCM"](), steps=3, data=given_data(model), learning_rate=0.1)
    found = loras.match(model, None, loras.fitted(model, result.tensors))
    assert not found.unmatched and found.tensors[0] == 2 * len(roles.layers)
    batch = fixed_batch(model, 2)
    y, sigma = batch.noise, torch.full((2,), 0.7)
    with torch.inference_mode(False), torch.no_grad():
        ours, plain = (roles(role, y, sigma, batch.cond) for role in ("student", "teacher"))
        theirs = student_of(model, result.tensors).denoise(y, sigma, batch.cond)
    assert torch.allclose(ours, theirs, atol=1e-5) and not torch.allclose(ours, plain, atol=1e-2)

    folders.folder_paths.add_model_folder_path("loras", str(tmp_path / "loras"))
    arguments = (model, result.name, 1.0, 4, 1.0)
    patched, _, _, sigmas, cfg, text = FewStepLoadLora().load(*arguments)["result"]
    assert patched.patches and cfg == 1 and "FewStep LCM" in text and len(sigmas) == 5 and sigmas[0] == 1
    assert "0 not" in text and job.method.sampler in text


def test_stopped_and_resumed_is_never_having_stopped(model, tmp_path):
    whole, _, _ = run(model, tmp_path / "whole", METHODS["DMD"](), steps=2)
    run(model, tmp_path / "parts", METHODS["DMD"](), steps=1)
    parts, _, _ = run(model, tmp_path / "parts", METHODS["DMD"](), steps=2)
    assert same(whole.tensors, parts.tensors)


def test_checkpointing_gives_the_same_student(model, tmp_path):
    """Also where a block adds to its inputs in place: a second run on them would be another run."""
    plain, _, _ = run(model, tmp_path / "plain", METHODS["LCM"](), learning_rate=0.1)
    again, _, _ = run(model, tmp_path / "again", METHODS["LCM"](), learning_rate=0.1, gradient_checkpointing=True)
    assert all(torch.allclose(plain.tensors[key], again.tensors[key], atol=1e-6) for key in plain.tensors)


def test_texts_of_unequal_length_weigh_what_they_weigh_alone(model):
    """A repeated text would pull more of the joint attention; so would zeros behind it."""
    from fewstep.host import architectures, conditioning, model_copy
    from fewstep.training.data import join_conds

    copy, conds = model_copy.TrainingCopy(model), conditioning.encode_prompts(model, Text(), list(PROMPTS), *SIZE)
    lengths = [cond["c_crossattn"].shape[1] for cond in conds]
    assert lengths == [int(cond["tokens"][0, 0]) for cond in conds]
    assert lengths == ([512, 512] if base_of(model) == "FLUX.2" else [12, 17])  # where the host pads, so does training
    shape = architectures.latent_shape(model, *SIZE)
    y, sigma = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0)), torch.tensor([0.9, 0.5])
    with torch.inference_mode(False), torch.no_grad():
        together = copy.denoise(y, sigma, join_conds(conds, torch.device("cpu")))
        alone = [copy.denoise(y[i : i + 1], sigma[i : i + 1], conds[i]) for i in range(2)]
        assert torch.allclose(together, torch.cat(alone), atol=1e-5)
        if base_of(model) in ("SD3", "Flux", "Qwen-Image", "Z-Image"):  # text and image are one row of tokens
            padded = join_conds([{k: v for k, v in c.items() if k != "tokens"} for c in conds], torch.device("cpu"))
            repeated = copy.denoise(y, sigma, padded)
            assert not torch.allclose(repeated, torch.cat(alone), atol=1e-4)


def test_the_sigmas_of_training_are_those_of_sampling(model):
    """The model's own shift is in both: time (t + 1) / 1000 is bent, and t = 999 is pure noise."""
    from fewstep.host import model_copy
    from fewstep.samplers.schedule import sigmas_of

    copy = model_copy.TrainingCopy(model)
    listed = sigmas_of(copy.sampling, [999, 759, 499, 259])
    assert torch.equal(copy.sigmas()[[999, 759, 499, 259]], listed[:-1]) and listed[0] == 1
    table = model.get_model_object("model_sampling").sigmas  # the host's own, evenly spaced in time
    assert torch.allclose(listed[2], table[len(table) // 2 - 1], atol=1e-5) and abs(float(listed[2]) - 0.5) > 0.1


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_memory_is_estimated_before_a_run(precision, model):
    """Within 15 % of what autograd keeps of a real pass, and less where the blocks are recomputed."""
    from fewstep.host.data import dataset
    from fewstep.host.training import activations
    from fewstep.host.training.job import Job
    from fewstep.tests.helpers.estimates import really_kept

    spec = dataset.DataSpec(PROMPTS, None, *SIZE, 4, 2, 2.0)
    config = TrainConfig(batch_size=3, rank=4, alpha=4.0, precision=precision)
    job = Job(model, Text(), None, spec, METHODS["LCM"](), config, "estimate", [])
    kept, widths = activations.kept(job)
    assert kept.bytes(False) == pytest.approx(really_kept(job), rel=0.15)
    assert kept.bytes(True) < kept.bytes(False) and len(widths) == 2


def test_what_cannot_be_trained_is_refused_before_anything_is_drawn(model, tmp_path, monkeypatch):
    """Whole transformers, and networks with these blocks over the latents of videos (HunyuanVideo)."""
    with pytest.raises(ValueError, match=f"({'|'.join(FAMILIES)}) trains as a LoRA: set train to lora"):
        run(model, tmp_path, METHODS["LCM"](), train="full")
    monkeypatch.setattr(model.model.latent_format, "latent_dimensions", 4, raising=False)
    with pytest.raises(ValueError, match="none of the kinds it can train: .* SD3, Flux"):
        run(model, tmp_path, METHODS["LCM"]())
    assert not list(tmp_path.rglob("latents-*"))


def test_a_clip_is_trained_as_it_is_given(model, tmp_path):
    """Latents of three frames where the model makes videos; elsewhere they are refused."""
    from fewstep.host import architectures

    if architectures.of(model).latents.dimensions == 2:
        with pytest.raises(ValueError, match="is a video's, and the model makes pictures"):
            run(model, tmp_path, METHODS["LCM"](), data=given_data(model, frames=(3,)))
        return
    result, _, _ = run(model, tmp_path, METHODS["TSCD"](), data=given_data(model, frames=(3,)), learning_rate=0.1)
    assert all(torch.isfinite(t).all() for t in result.tensors.values())
    channels, _, *sides = architectures.latent_shape(model, *SIZE)
    y, sigma = torch.randn(1, channels, 3, *sides), torch.tensor([0.7])
    cond = fixed_batch(model, 1).cond
    with torch.inference_mode(False), torch.no_grad():
        ours, plain = (student_of(model, tensors).denoise(y, sigma, cond) for tensors in (result.tensors, {}))
    assert ours.shape == y.shape and not torch.allclose(ours, plain, atol=1e-2)


@pytest.mark.parametrize("hidden", [0, 3])
def test_a_texts_mask_is_taken_where_it_changes_nothing(model, hidden):
    """A mask of ones always; one that hides tokens only where the host does not show it to the network."""
    from fewstep.host.data import from_host

    mask = torch.ones(1, 12)
    mask[:, :hidden] = 0
    given = conditioning_of(PROMPTS[0], attention_mask=mask)
    data = from_host.read(None, [given])
    if hidden and base_of(model) not in ("FLUX.2", "Anima"):
        with pytest.raises(ValueError, match="attention_mask hides some of its tokens"):
            data.fitted(model)
    else:
        assert torch.equal(data.fitted(model).conds[0].hidden, given[0][0])


def hosts_prediction(model, given: list, y: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """x0 as the host's own sampling asks its MODEL for it, with this CONDITIONING and guidance 1."""
    import comfy.sample
    from fewstep.host import sampling

    seen = []
    look = sampling.as_sampler(
        lambda denoise, x, *_, **options: seen.append(denoise(y, sigma, **options["extra_args"])) or x, {}
    )
    with torch.inference_mode():
        comfy.sample.sample_custom(model, y, 1.0, look, torch.tensor([0.9, 0.0]), given, given, torch.zeros_like(y))
    return seen[0]


def test_training_predicts_what_the_host_samples_with(model):
    """The same noise, sigma and text through the training copy and through the host; another text is another one."""
    from fewstep.host import architectures, conditioning, model_copy

    y = torch.randn(1, *architectures.latent_shape(model, *SIZE), generator=torch.Generator().manual_seed(0))
    sigma, copy = torch.tensor([0.6]), model_copy.TrainingCopy(model)
    with torch.inference_mode(False), torch.no_grad():
        texts = [
            copy.denoise(y, sigma, cond) for cond in conditioning.encode_prompts(model, Text(), list(PROMPTS), *SIZE)
        ]
    for ours, prompt in zip(texts, PROMPTS):
        theirs = hosts_prediction(model, conditioning_of(prompt), y, sigma)
        assert torch.allclose(ours, theirs, atol=1e-5)
    assert not torch.allclose(*texts, atol=1e-3)


class OneText(Text):
    """Another family's text encoder."""

    def encode_from_tokens(self, tokens, return_pooled=True):
        found = super().encode_from_tokens(tokens)
        return found["cond"], found["pooled_output"]


def test_a_text_in_one_part_is_refused_where_two_are_read(model, tmp_path):
    from fewstep.host import architectures
    from fewstep.host.data import from_host

    if base_of(model) != "Anima":
        assert run(model, tmp_path, METHODS["LCM"](), text=OneText())[0].metrics
        return
    refusal = "came without t5xxl_ids and t5xxl_weights: .* Connect the CLIP of Anima"
    with pytest.raises(ValueError, match=refusal):
        run(model, tmp_path, METHODS["LCM"](), text=OneText())
    data = from_host.read(None, [[[torch.zeros(1, 3, 32), {}]]])
    with pytest.raises(ValueError, match=refusal):
        data.fitted(model)
    assert architectures.of(model).texts[0] == "c_crossattn" and not list(tmp_path.rglob("latents-*"))


def test_a_second_text_is_part_of_what_the_data_is(model):
    from fewstep.host.data import from_host

    given, other = conditioning_of(PROMPTS[0]), conditioning_of(PROMPTS[0])
    other[0][1]["t5xxl_ids"] = other[0][1]["t5xxl_ids"].flip(0)
    digests = {from_host.read(None, [some]).digest() for some in (given, conditioning_of(PROMPTS[0]), other)}
    assert len(digests) == 2
