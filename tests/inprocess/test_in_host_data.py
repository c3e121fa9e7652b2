"""Where data comes from, inside the embedded host: prompts past the cap, buckets, shards, the host's own lists."""

import copy
from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("comfy", reason="the embedded host is not installed here")

from fewstep.tests.helpers.image_files import picture, shard
from fewstep.tests.helpers.in_process import FakeText
from fewstep.tests.helpers.lora_runs import METHODS
from fewstep.tests.helpers.small_models import random_sdxl
from fewstep.training import methods  # noqa: E402 (after the host)
from fewstep.training.config import TrainConfig  # noqa: E402
from fewstep.training.data import make_batch  # noqa: E402
from fewstep.training.options import ConsistencyOptions  # noqa: E402
from PIL import Image  # noqa: E402

CPU = torch.device("cpu")
LCM = methods.lcm(ConsistencyOptions(skip=200, guidance_min=2.0, guidance_max=2.0))
PROMPTS = ("red apple, 3d style", "robot, flat style", "crab", "red apple, 3d style")


def spec(**changes):
    from fewstep.host.data import dataset

    settings = {"prompts": PROMPTS, "pictures": None, "width": 96, "height": 96, "count": 6}
    return dataset.DataSpec(**{**settings, "teacher_steps": 2, "teacher_cfg": 2.0, **changes})


def run(tiny, folder, data, method=LCM, steps=2, **options):
    from fewstep.host import folders
    from fewstep.host.training import run
    from fewstep.host.training.job import Job

    model, clip, vae = tiny
    settings = {"batch_size": 2, "rank": 4, "alpha": 4.0, "learning_rate": 1e-2, "ema_decay": 0.9}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folders, "output_folder", lambda: folder / "output")
        patch.setattr(folders, "lora_folder", lambda: folder / "loras")
        with torch.inference_mode():  # as the host runs its nodes
            config = TrainConfig(steps=steps, **{**settings, **options})
            return run.distil(Job(model, clip, vae, data, method, config, "run", []))


def maker(tiny, folder):
    from fewstep.host.data import dataset

    return dataset.Maker(*tiny, 0, folder)


def equal(first, second) -> bool:
    return all(torch.equal(first.tensors[key], second.tensors[key]) for key in first.tensors)


class Counting:
    """A text encoder that notes what it is asked for."""

    def __init__(self, clip):
        self.clip, self.asked = clip, []

    def __getattr__(self, name):
        return getattr(self.clip, name)

    def tokenize(self, text):
        self.asked.append(text)
        return self.clip.tokenize(text)


def clip_is_loaded(clip) -> bool:
    from comfy import model_management

    return any(loaded.model is clip.patcher for loaded in model_management.current_loaded_models)


def test_prompts_past_the_cap_give_the_same_bits_and_below_it_the_text_encoder_is_freed(tiny, tmp_path):
    """Also when a run is cut in the middle, and goes on with prompts encoded while it trains."""
    from fewstep.host import conditioning

    counting = Counting(tiny[1])
    whole = run((tiny[0], counting, tiny[2]), tmp_path / "kept", spec(), steps=2)
    assert not clip_is_loaded(tiny[1])
    asked = ["", "", "", *set(PROMPTS)]  # once for the estimate, once for its size, then each prompt once
    assert sorted(counting.asked) == sorted(asked)
    most = conditioning.text_encoder
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conditioning, "text_encoder", lambda clip, prompts, _: most(clip, prompts, 0))
        run(tiny, tmp_path / "cut", spec(), steps=1)
        assert clip_is_loaded(tiny[1])
        assert equal(run(tiny, tmp_path / "cut", spec(), steps=2), whole)


def test_the_cap_is_in_megabytes_and_changes_no_digest(tiny):
    from fewstep.host import conditioning

    hidden, pooled, _ = conditioning.encode_text(tiny[1], "")
    most = 2**20 // (4 * (hidden.numel() + pooled.numel()))
    below, past = Counting(tiny[1]), Counting(tiny[1])
    encode = conditioning.text_encoder(below, map(str, range(most)), 1)
    assert encode("7") is encode("7") and below.asked == ["", "", *map(str, range(most))]
    encode = conditioning.text_encoder(past, map(str, range(most + 1)), 1)
    encode("7")
    assert past.asked == ["", "", "7"]
    assert spec(text_cache=1).digest() == spec().digest() != spec(buckets=8).digest()


def test_a_run_refuses_other_prompts_and_names_the_data(tiny, tmp_path):
    run(tiny, tmp_path, spec(), METHODS["SwiftBrush"](), steps=1)
    with pytest.raises(ValueError, match=r"other settings: data \("):
        run(tiny, tmp_path, spec(prompts=(*PROMPTS, "new")), METHODS["SwiftBrush"]())


def mixed_folder(path):
    path.mkdir()
    for number, size in enumerate([(100, 100), (60, 150), (150, 60), (90, 90), (61, 152), (50, 50), (300, 120)]):
        (path / f"{number}.png").write_bytes(picture(size, ("red", "blue", "lime")[number % 3]))
        (path / f"{number}.txt").write_text(f"picture {number}")
    return path


def open_spec(path, **changes):
    from fewstep.host.data import images

    source = images.open_source(path)
    found = {"prompts": (), "pictures": source, "count": len(source.captions), "stamp": images.stamp_of(path)}
    return spec(**found, name=path.name, **changes)


def test_pictures_of_mixed_sizes_train_in_buckets_and_resume_exactly(tiny, tmp_path):
    from fewstep.host.data import dataset

    data = open_spec(mixed_folder(tmp_path / "mixed"), buckets=8)
    built = dataset.build(data, maker(tiny, tmp_path / "cache"))
    assert sorted(built.buckets.shapes) == [(4, 7, 19), (4, 12, 12), (4, 19, 7)]
    assert sorted(i for group in built.buckets.groups for i in group) == list(range(7))
    for start in range(0, 28, 2):
        batch = make_batch(built, 0, start, 2, CPU)
        assert batch.noise.shape == batch.latents.shape and batch.latents.isfinite().all()
    whole = run(tiny, tmp_path / "whole", data, steps=4)
    run(tiny, tmp_path / "cut", data, steps=2)
    assert equal(run(tiny, tmp_path / "cut", data, steps=4), whole)
    with pytest.raises(ValueError, match=r"other settings: data \("):
        run(tiny, tmp_path / "cut", open_spec(tmp_path / "mixed"), steps=4)


def test_shards_give_what_the_folder_gives_and_chunks_are_made_once(tiny, tmp_path, monkeypatch):
    from fewstep.host.data import cache, dataset

    folder = mixed_folder(tmp_path / "mixed")
    shard(tmp_path / "s" / "0.tar", {file.name: file.read_bytes() for file in sorted(folder.iterdir())})
    monkeypatch.setattr(cache, "CHUNK", 3)
    loose = dataset.build(open_spec(folder, buckets=8), maker(tiny, tmp_path / "a"))
    data = open_spec(tmp_path / "s", buckets=8)
    packed = dataset.build(data, maker(tiny, tmp_path / "b"))
    assert len(list((tmp_path / "b").iterdir())) == 3
    for start in (0, 2, 30):
        first, second = (make_batch(examples, 1, start, 2, CPU) for examples in (loose, packed))
        assert torch.equal(first.latents, second.latents) and first.prompts == second.prompts
    mute = SimpleNamespace(first_stage_model=tiny[2].first_stage_model)  # all is on the disk
    no_vae = dataset.Maker(tiny[0], tiny[1], mute, 0, tmp_path / "b")
    again = dataset.build(data, no_vae)
    assert torch.equal(make_batch(again, 1, 30, 2, CPU).latents, second.latents)


def test_a_picture_without_buckets_is_cropped(tiny, tmp_path):
    from fewstep.host.data import dataset

    built = dataset.build(open_spec(mixed_folder(tmp_path / "mixed")), maker(tiny, tmp_path))
    assert built.buckets.shapes == [(4, 12, 12)] and len(built) == 7


def other_vae(vae):
    """A VAE of the same shape that is not the same: one bias of its encoder is another."""
    other = copy.copy(vae)
    with torch.inference_mode():
        other.first_stage_model = copy.deepcopy(vae.first_stage_model)
        next(p for n, p in other.first_stage_model.named_parameters() if n.endswith("0.bias")).add_(0.5)
    return other


def test_another_vae_makes_latents_of_its_own_and_is_another_run(tiny, tmp_path):
    from fewstep.host import fingerprints
    from fewstep.host.data import dataset

    data = open_spec(mixed_folder(tmp_path / "mixed"))
    model, clip, vae = tiny
    other = other_vae(vae)
    assert fingerprints.of_network(vae.first_stage_model) != fingerprints.of_network(other.first_stage_model)
    first, second, third = (
        dataset.build(data, dataset.Maker(model, clip, one, 0, tmp_path / "cache")).latents[0]
        for one in (vae, other, vae)
    )
    assert torch.equal(first, third) and not torch.allclose(first, second, atol=1e-3)
    assert len(list((tmp_path / "cache").iterdir())) == 2
    run(tiny, tmp_path / "run", data, steps=1)
    with pytest.raises(ValueError, match=r"other settings: vae \(another VAE\)"):
        run((model, clip, other), tmp_path / "run", data, steps=2)


class FakeVAE:
    first_stage_model = torch.nn.Linear(1, 1)

    def encode(self, pixels):
        return pixels[..., :1].permute(0, 3, 1, 2)[:, :, ::8, ::8].expand(-1, 4, -1, -1)


def test_sdxl_is_taught_with_each_pictures_own_size_crop_and_target(tiny, tmp_path):
    """The `y` of both the prompt and the empty one, as the host makes it from CLIPTextEncodeSDXL's numbers."""
    from fewstep.host.data import dataset, images

    (tmp_path / "in").mkdir()
    for name, size in (("wide", (300, 120)), ("square", (64, 64))):
        Image.new("RGB", size).save(tmp_path / "in" / f"{name}.png")
    model, text = random_sdxl(), FakeText()
    data = open_spec(tmp_path / "in", buckets=8)
    built = dataset.build(data, dataset.Maker(model, text, FakeVAE(), 0, tmp_path))
    wide = built.texts.index("wide")
    numbers = {"width": 300, "height": 120, "target_width": 152, "target_height": 56, "crop_w": 0, "crop_h": 2}
    assert images.fit((300, 120), images.bucket_sizes(96, 96, 8)) == (300, 120, 0, 2, 152, 56)
    for prompt, found in (("wide", built.conds[wide]), ("", built.empty(wide))):
        pooled = text.encode_from_tokens(prompt)[1]
        assert torch.equal(found["y"], model.model.encode_adm(pooled_output=pooled, **numbers))
    assert not torch.equal(built.empty(wide)["y"], built.empty(1 - wide)["y"])


@pytest.mark.parametrize("name", ["SwiftBrush", "sum"])
def test_backward_distillation_opens_draws_and_encodes_no_picture(name, tiny, tmp_path, monkeypatch):
    """A folder of pictures as data: only its captions are used."""
    from fewstep.host import sampling
    from fewstep.host.data import images

    def never(*_, **__):
        raise AssertionError("a picture was looked at")

    data = open_spec(mixed_folder(tmp_path / "mixed"), buckets=8)
    monkeypatch.setattr(images, "opened", never)
    monkeypatch.setattr(sampling, "teacher_latents", never)
    monkeypatch.setattr(tiny[2], "encode", never)
    result = run(tiny, tmp_path, data, METHODS[name]())
    assert result.metrics and not list(tmp_path.rglob("latents-*"))


def encoded(tiny, text: str) -> list:
    """CONDITIONING as CLIPTextEncode gives it: inside inference mode."""
    from fewstep.host import conditioning

    with torch.inference_mode():
        hidden, pooled, _ = conditioning.encode_text(tiny[1], text)
        return [[hidden.clone(), {"pooled_output": pooled}]]


def latent(*shape, seed=0) -> dict:
    with torch.inference_mode():
        return {"samples": torch.randn(shape, generator=torch.Generator().manual_seed(seed))}


def test_the_hosts_lists_are_data_and_equal_the_same_pictures(tiny, tmp_path):
    """The host's VAE Encode and CLIP Text Encode by hand give the batches of a folder."""
    from fewstep.host.data import dataset, from_host, images

    path = mixed_folder(tmp_path / "mixed")
    data = open_spec(path)
    with torch.inference_mode():
        latents = [{"samples": tiny[2].encode(images.read_picture(data.pictures, i, 96, 96))} for i in range(7)]
    found = from_host.read(latents, [encoded(tiny, text) for text in data.pictures.captions])
    listed = spec(prompts=(), host_data=found, count=7)
    built = dataset.build(listed, maker(tiny, tmp_path / "a"))
    theirs = dataset.build(data, maker(tiny, tmp_path / "b"))
    for start in (0, 5):
        first, second = (make_batch(examples, 0, start, 4, CPU) for examples in (built, theirs))
        assert torch.equal(first.latents, second.latents)
        assert torch.equal(first.cond["c_crossattn"], second.cond["c_crossattn"])
    assert first.prompts is None and listed.summary() == "7 latents of the host"


def test_latents_of_several_shapes_and_one_conditioning_for_all(tiny, tmp_path):
    from fewstep.host.data import dataset, from_host

    found = from_host.read([latent(3, 4, 12, 12), latent(1, 4, 8, 16)], [encoded(tiny, "crab")])
    built = dataset.build(spec(prompts=(), host_data=found), maker(tiny, tmp_path))
    assert built.buckets.groups == [[0, 1, 2], [3]] and len(built) == 4
    assert found.digest() != from_host.read([latent(3, 4, 12, 12, seed=1)], [encoded(tiny, "crab")]).digest()


def test_conditioning_alone_has_no_texts_for_rewards(tiny, tmp_path):
    from fewstep.host.data import from_host
    from fewstep.training.on_images import with_feedback
    from fewstep.training.options import FeedbackOptions
    from fewstep.training.rewards import RewardSum

    found = from_host.read(None, [encoded(tiny, text) for text in PROMPTS[:3]])
    data = spec(prompts=(), host_data=found)
    method = with_feedback(METHODS["SwiftBrush"](), FeedbackOptions(), RewardSum([]))
    with pytest.raises(ValueError, match="needs the prompts' texts, but this data came as conditioning alone"):
        run(tiny, tmp_path, data, method)


@pytest.mark.parametrize(
    "latents, options, message",
    [
        (None, {"area": (1, 1, 0, 0)}, "covers a part of the picture, which cannot be taught"),
        (None, {"mask": torch.ones(1, 8, 8)}, "covers a part of the picture"),
        (None, {"control": object()}, "carries a ControlNet"),
        (None, {"hooks": object()}, "carries hooks"),
        (None, {"gligen": ()}, "carries 'gligen'"),
        ([latent(3, 4, 8, 8)], {"two": True}, "3 latents came with 2 conditionings. Give one for all, or one for each"),
        ([latent(1, 4, 8)], {}, r"no batch of pictures \[b, c, h, w\] or videos .* but \[1, 4, 8\]"),
        ([{**latent(1, 4, 8, 8), "noise_mask": torch.ones(1)}], {}, "carries an inpainting mask"),
        ([{"samples": torch.full((1, 4, 8, 8), float("nan"))}], {}, "NaN or infinity"),
        ([], {}, "latents is connected, but the list is empty"),
        (None, None, "conditioning is empty"),
    ],
)
def test_what_the_host_gives_but_cannot_be_taught_is_refused(latents, options, message):
    from fewstep.host.data import from_host

    conditioning = [] if options is None else [[torch.zeros(1, 77, 64), {"pooled_output": None, **options}]]
    if options == {"two": True}:
        conditioning = [[torch.zeros(2, 77, 64), {}]]
    with pytest.raises(ValueError, match="FewStepDataFromHost: .*" + message):
        from_host.read(latents, [conditioning])


def test_latents_of_another_model_are_refused(tiny, tmp_path):
    from fewstep.host.data import dataset, from_host

    found = from_host.read([latent(1, 16, 12, 12)], [encoded(tiny, "crab")])
    with pytest.raises(ValueError, match="latents have 16 channels, the model has 4"):
        dataset.build(spec(prompts=(), host_data=found), maker(tiny, tmp_path))
