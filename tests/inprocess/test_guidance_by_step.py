"""Guidance by step and sampling by two models, through the host's own sampling in this process."""

import pytest
import torch

pytest.importorskip("comfy", reason="the embedded host is not installed here")
METHODS = ["lcm", "tcd", "ddim", "imagine_flash"]
STEPS = [999, 759, 499, 259]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """(MODEL, positive, negative, the few-step MODEL) of the tiny base."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COMFYUI_DIR", raising=False)
        from fewstep.host import headless
        from fewstep.host.conditioning import encode_text
        from fewstep.host.folders import ASSETS
        from fewstep.host.loading import loras
        from fewstep.weights import io

        headless.start(workdir=tmp_path_factory.mktemp("by-step"))
        model, clip, _ = headless.load_checkpoint(ASSETS / "checkpoints" / "fewstep-tiny-sd.safetensors")
        student = io.load(ASSETS / "loras" / "fewstep-tiny-sd-lcm-lora.safetensors")[0]
        conds = [[[encode_text(clip, text)[0], {}]] for text in ("red apple, 3d style", "green")]
        yield model, *conds, loras.apply(model, None, student, 1.0)[0]


@pytest.fixture(autouse=True)
def no_previews(monkeypatch):
    """The host has them for a queued graph only."""
    from fewstep.host import sampling, stages

    for module in (sampling, stages):
        monkeypatch.setattr(module, "preview_callback", lambda *_: lambda *_: None)


def sigmas_of(model, timesteps=STEPS):
    from fewstep.samplers import schedule

    return schedule.sigmas_of(model.get_model_object("model_sampling"), timesteps)


def sampler_of(method: str):
    from fewstep.host import sampling
    from fewstep.samplers.registry import SAMPLERS

    return sampling.as_sampler(SAMPLERS[method].function, SAMPLERS[method].keywords(0.5, None))


def counted(model) -> tuple:
    """(MODEL, list): the list gets (sigma, rows of the network's batch) at every pass."""
    passes, model = [], model.clone()

    def wrapper(apply_model, given):
        passes.append((float(given["timestep"][0]), len(given["input"])))
        return apply_model(given["input"], given["timestep"], **given["c"])

    model.set_model_unet_function_wrapper(wrapper)
    return model, passes


def empty(count: int = 1) -> dict:
    return {"samples": torch.zeros((count, 4, 12, 12))}


@torch.inference_mode()
def sampled(model, tiny, cfg, method="lcm", latent=None, sigmas=None, seed=7):
    from fewstep.host import sampling

    sigmas = sigmas_of(model) if sigmas is None else sigmas
    latent = latent or empty()
    return sampling.sample_custom(model, seed, cfg, tiny[1], tiny[2], sampler_of(method), sigmas, latent)["samples"]


@pytest.mark.parametrize("cfg, passes", [(1.0, 4), (3.0, 8), ([3.0, 1.0, 1.0, 1.0], 5), ([3.0, 3.0, 1.0], 6)], ids=str)
def test_a_step_at_cfg_1_is_one_pass_and_any_other_two(cfg, passes, tiny):
    model, seen = counted(tiny[3])
    sampled(model, tiny, cfg)
    assert sum(rows for _, rows in seen) == passes
    assert len({round(sigma, 3) for sigma, _ in seen}) == 4


def test_the_first_step_alone_hears_the_negative_prompt(tiny):
    plain, first, whole = (sampled(tiny[3], tiny, cfg) for cfg in (1.0, [3.0, 1.0], 3.0))
    assert (first - plain).abs().mean() > 0.01 and (first - whole).abs().mean() > 0.01
    # its first step is that of cfg 3, and no later one
    short = sigmas_of(tiny[3])[:2]
    assert torch.equal(sampled(tiny[3], tiny, [3.0, 1.0], sigmas=short), sampled(tiny[3], tiny, 3.0, sigmas=short))


def test_one_scale_for_all_steps_is_the_hosts_own_sampling(tiny):
    import comfy.sample

    noise = comfy.sample.prepare_noise(empty()["samples"], 7)
    model, positive, negative, _ = tiny
    with torch.inference_mode():
        theirs = comfy.sample.sample_custom(
            model,
            noise,
            3.0,
            sampler_of("ddim"),
            sigmas_of(model),
            positive,
            negative,
            empty()["samples"],
            disable_pbar=True,
            seed=7,
        )
    assert torch.equal(sampled(model, tiny, 3.0, "ddim"), theirs)
    assert torch.equal(sampled(model, tiny, [3.0, 3.0], "ddim"), theirs)


# --- two models ------------------------------------------------------------------------------------------------------


@torch.inference_mode()
def by_two(high, low, tiny, method="lcm", boundary=3.0, cfg="1", latent=None, first_step="as the others", **more):
    from fewstep.nodes.two_models import FewStepTwoModelSampler

    whole = {"sigmas": sigmas_of(low), "first_cfg": 3.5, **more}
    latent, report = FewStepTwoModelSampler().sample(
        high_model=high,
        low_model=low,
        positive=tiny[1],
        negative=tiny[2],
        latent_image=latent or empty(),
        noise_seed=7,
        cfg=cfg,
        sampler=sampler_of(method),
        boundary=boundary,
        first_step=first_step,
        **whole,
    )
    return latent["samples"], report


def masked() -> dict:
    samples = torch.randn((1, 4, 12, 12), generator=torch.Generator().manual_seed(2))
    mask = torch.ones((1, 1, 96, 96))
    mask[..., :48] = 0
    return {"samples": samples, "noise_mask": mask}


@pytest.mark.parametrize("latent", [empty, masked], ids=["empty", "masked"])
@pytest.mark.parametrize("boundary", [0.0, 1.0, 3.0, 100.0])
@pytest.mark.parametrize("method", METHODS)
def test_one_model_in_both_places_is_a_single_run(method, boundary, latent, tiny):
    """The noise left at the boundary is handed over as it is, and so is what a mask keeps."""
    student = tiny[3]
    made, _ = by_two(student, student, tiny, method, boundary, "2, 1", latent())
    assert torch.equal(made, sampled(student, tiny, [2.0, 1.0], method, latent()))


def test_each_model_takes_the_steps_of_its_side(tiny):
    (high, above), (low, below) = counted(tiny[0]), counted(tiny[3])
    made, report = by_two(high, low, tiny, boundary=1.0, cfg="3, 1")
    sigmas = [pytest.approx(float(sigma)) for sigma in sigmas_of(low)]
    assert [sigma for sigma, _ in above] == sigmas[:3] and [sigma for sigma, _ in below] == sigmas[3:4]
    assert sum(rows for _, rows in above + below) == 5
    assert report.splitlines()[0].startswith("high_model: sigmas 14.61, ") and "cfg 3, 1, 1" in report
    assert report.splitlines()[1].startswith("low_model: sigmas ") and report.endswith(", 0; cfg 1")


def test_the_first_step_can_be_guided_and_without_the_lora(tiny):
    """Against slow motion: the bare network with cfg for one step; its LoRA lies on the next one again."""
    base, student = tiny[0], tiny[3]
    made, report = by_two(student, student, tiny, first_step="with first_cfg, without LoRA")
    assert report.splitlines()[0].startswith("first step: ") and report.splitlines()[0].endswith("cfg 3.5")
    given, _ = by_two(student, student, tiny, first_step="with first_cfg, without LoRA", first_model=base)
    plain, _ = by_two(student, student, tiny)
    other, _ = by_two(base, student, tiny, cfg="3.5, 1", boundary=5.0)  # the same by hand
    assert torch.equal(made, given) and torch.equal(made, other) and (made - plain).abs().mean() > 0.01


def test_the_parts_of_a_pair_are_joined(tiny):
    student, whole = tiny[3], sigmas_of(tiny[3])
    made, _ = by_two(student, student, tiny)
    parts, _ = by_two(student, student, tiny, sigmas=whole[:3], sigmas_low=whole[2:])
    assert torch.equal(made, parts)
    with pytest.raises(ValueError, match="sigmas_low must begin where sigmas ends"):
        by_two(student, student, tiny, sigmas=whole[:3], sigmas_low=whole[3:])


def test_a_sampler_of_the_host_draws_other_noise_in_each_part(tiny):
    """With the seed of the first part it would begin with the same numbers again."""
    import comfy.samplers
    from fewstep.host import stages

    seeds = []

    def function(model, x, sigmas, extra_args=None, callback=None, disable=None):
        seeds.append(extra_args["seed"])
        return x

    parts = stages.split((tiny[0], tiny[3]), sigmas_of(tiny[0]), 3.0, [1.0])
    stages.sample_stages(parts, 7, tiny[1], tiny[2], comfy.samplers.KSAMPLER(function), empty())
    assert seeds == [7, 8]
