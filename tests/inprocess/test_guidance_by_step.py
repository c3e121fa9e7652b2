"""Guidance by step and sampling by two models, through the host's own sampling in this process."""

import pytest
import torch

pytest.importorskip("comfy", reason="the embedded host is not installed here")
METHODS = ["lcm", "tcd", "ddim", "imagine_flash"]
STEPS = [999, 759, 499, 259]


@pytest.fixture(scope="module")
def graph(tiny):
    """(MODEL, positive, negative, the few-step MODEL) of the tiny base."""
    from fewstep.host.conditioning import encode_text
    from fewstep.host.folders import ASSETS
    from fewstep.host.loading import loras
    from fewstep.weights import io

    model, clip, _ = tiny
    student = io.load(ASSETS / "loras" / "fewstep-tiny-sd-lcm-lora.safetensors")[0]
    conds = [[[encode_text(clip, text)[0], {}]] for text in ("red apple, 3d style", "green")]
    return model, *conds, loras.apply(model, None, student, 1.0)[0]


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
def sampled(model, graph, cfg, method="lcm", latent=None, sigmas=None, seed=7):
    from fewstep.host import sampling

    sigmas = sigmas_of(model) if sigmas is None else sigmas
    latent = latent or empty()
    return sampling.sample_custom(model, seed, cfg, graph[1], graph[2], sampler_of(method), sigmas, latent)["samples"]


@pytest.mark.parametrize("cfg, passes", [(1.0, 4), (3.0, 8), ([3.0, 1.0, 1.0, 1.0], 5), ([3.0, 3.0, 1.0], 6)], ids=str)
def test_a_step_at_cfg_1_is_one_pass_and_any_other_two(cfg, passes, graph):
    model, seen = counted(graph[3])
    sampled(model, graph, cfg)
    assert sum(rows for _, rows in seen) == passes
    assert len({round(sigma, 3) for sigma, _ in seen}) == 4


def test_the_first_step_alone_hears_the_negative_prompt(graph):
    plain, first, whole = (sampled(graph[3], graph, cfg) for cfg in (1.0, [3.0, 1.0], 3.0))
    assert (first - plain).abs().mean() > 0.01 and (first - whole).abs().mean() > 0.01
    # its first step is that of cfg 3, and no later one
    short = sigmas_of(graph[3])[:2]
    assert torch.equal(sampled(graph[3], graph, [3.0, 1.0], sigmas=short), sampled(graph[3], graph, 3.0, sigmas=short))


def test_one_scale_for_all_steps_is_the_hosts_own_sampling(graph):
    import comfy.sample

    noise = comfy.sample.prepare_noise(empty()["samples"], 7)
    model, positive, negative, _ = graph
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
    assert torch.equal(sampled(model, graph, 3.0, "ddim"), theirs)
    assert torch.equal(sampled(model, graph, [3.0, 3.0], "ddim"), theirs)


# --- two models ------------------------------------------------------------------------------------------------------


@torch.inference_mode()
def by_two(high, low, graph, method="lcm", boundary=3.0, cfg="1", latent=None, first_step="as the others", **more):
    from fewstep.nodes.two_models import FewStepTwoModelSampler

    whole = {"sigmas": sigmas_of(low), "first_cfg": 3.5, **more}
    shown = FewStepTwoModelSampler().sample(
        high_model=high,
        low_model=low,
        positive=graph[1],
        negative=graph[2],
        latent_image=latent or empty(),
        noise_seed=7,
        cfg=cfg,
        sampler=sampler_of(method),
        boundary=boundary,
        first_step=first_step,
        **whole,
    )
    latent, report = shown["result"]
    return latent["samples"], report


def masked() -> dict:
    samples = torch.randn((1, 4, 12, 12), generator=torch.Generator().manual_seed(2))
    mask = torch.ones((1, 1, 96, 96))
    mask[..., :48] = 0
    return {"samples": samples, "noise_mask": mask}


@pytest.mark.parametrize("latent", [empty, masked], ids=["empty", "masked"])
@pytest.mark.parametrize("boundary", [0.0, 1.0, 3.0, 100.0])
@pytest.mark.parametrize("method", METHODS)
def test_one_model_in_both_places_is_a_single_run(method, boundary, latent, graph):
    """The noise left at the boundary is handed over as it is, and so is what a mask keeps."""
    student = graph[3]
    made, _ = by_two(student, student, graph, method, boundary, "2, 1", latent())
    assert torch.equal(made, sampled(student, graph, [2.0, 1.0], method, latent()))


@pytest.fixture(scope="module")
def flow(tiny):
    """(MODEL, positive, negative) of a small random SD3: the latent between two stock nodes is divided by 1 - sigma."""
    from fewstep.tests.helpers.small_models import make

    generator = torch.Generator().manual_seed(0)
    texts = [torch.randn((1, 12, 32), generator=generator) for _ in range(2)]
    return make("SD3"), *([[text, {"pooled_output": text[:, 0]}]] for text in texts)


@pytest.mark.parametrize("boundary", [1.0, 0.95, 0.875])
@pytest.mark.parametrize("latent", [empty, masked], ids=["empty", "masked"])
def test_flow_models_hand_over_at_any_sigma(latent, boundary, flow):
    sigmas = torch.tensor([1.0, 1.0 - 1e-7, 0.9375, 0.83333, 0.625, 0.0])  # a part may end at noise alone
    given = latent()
    given["samples"] = given["samples"].repeat(1, 4, 1, 1)
    made, _ = by_two(flow[0], flow[0], flow, "ddim", boundary, "2, 1", given, sigmas=sigmas)
    whole = sampled(flow[0], flow, [2.0, 1.0], "ddim", given, sigmas)
    assert made.isfinite().all() and torch.equal(made, whole)


def test_each_model_takes_the_steps_of_its_side(graph):
    (high, above), (low, below) = counted(graph[0]), counted(graph[3])
    made, report = by_two(high, low, graph, boundary=1.0, cfg="3, 1")
    sigmas = [pytest.approx(float(sigma)) for sigma in sigmas_of(low)]
    assert [sigma for sigma, _ in above] == sigmas[:3] and [sigma for sigma, _ in below] == sigmas[3:4]
    assert sum(rows for _, rows in above + below) == 5
    assert report.splitlines()[0].startswith("high_model: sigmas 14.61, ") and "cfg 3, 1, 1" in report
    assert report.splitlines()[1].startswith("low_model: sigmas ") and report.endswith(", 0; cfg 1")


def test_the_first_step_can_be_guided_and_without_the_lora(graph):
    """Against slow motion: the bare network with cfg for one step; its LoRA lies on the next one again."""
    base, student = graph[0], graph[3]
    made, report = by_two(student, student, graph, first_step="with first_cfg, without LoRA")
    assert report.splitlines()[0].startswith("first step: ") and report.splitlines()[0].endswith("cfg 3.5")
    given, _ = by_two(student, student, graph, first_step="with first_cfg, without LoRA", first_model=base)
    plain, _ = by_two(student, student, graph)
    other, _ = by_two(base, student, graph, cfg="3.5, 1", boundary=5.0)  # the same by hand
    assert torch.equal(made, given) and torch.equal(made, other) and (made - plain).abs().mean() > 0.01


def test_the_parts_of_a_pair_are_joined(graph):
    student, whole = graph[3], sigmas_of(graph[3])
    made, _ = by_two(student, student, graph)
    parts, _ = by_two(student, student, graph, sigmas=whole[:3], sigmas_low=whole[2:])
    assert torch.equal(made, parts)
    with pytest.raises(ValueError, match="sigmas_low must begin where sigmas ends"):
        by_two(student, student, graph, sigmas=whole[:3], sigmas_low=whole[3:])


def test_a_sampler_of_the_host_draws_other_noise_in_each_part(graph):
    """With the seed of the first part it would begin with the same numbers again."""
    import comfy.samplers
    from fewstep.host import stages

    seeds = []

    def function(model, x, sigmas, extra_args=None, callback=None, disable=None):
        seeds.append(extra_args["seed"])
        return x

    parts = stages.split((graph[0], graph[3]), sigmas_of(graph[0]), 3.0, [1.0])
    for seed in (7, 2**64 - 1):  # the last that a widget gives
        stages.sample_stages(parts, seed, graph[1], graph[2], comfy.samplers.KSAMPLER(function), empty())
    assert seeds == [7, 8, 2**64 - 1, 0]


# --- condition noise -------------------------------------------------------------------------------------------------


def texts_of(model, graph, cfg: float) -> list[tuple[float, torch.Tensor]]:
    """(sigma, the text that the network is given, [chunks b, tokens, width]) of every pass."""
    from fewstep.host import condition_noise

    seen, model = [], model.clone()

    def wrapper(apply_model, given):
        seen.append((float(given["timestep"][0]), given["c"]["c_crossattn"].clone(), given["cond_or_uncond"]))
        return apply_model(given["input"], given["timestep"], **given["c"])

    model.set_model_unet_function_wrapper(wrapper)
    sampled(condition_noise.apply(model, 0.3, 0.4, 5), graph, cfg, latent=empty(2))
    return seen


def test_the_positive_text_is_noised_and_clean_again_where_the_noise_has_faded(graph):
    passes = texts_of(graph[3], graph, 2.0)
    clean = {0: graph[1][0][0], 1: graph[2][0][0]}  # by the host's marks: positive, negative
    changes = []
    for _, text, marks in passes:
        chunks = dict(zip(marks, text.chunk(len(marks))))
        assert torch.equal(chunks[1], clean[1].expand_as(chunks[1]))  # the negative stays
        changes.append(float((chunks[0] - clean[0]).abs().mean()))
        assert changes[-1] == 0 or (chunks[0][0] - chunks[0][1]).abs().mean() > 0.01  # each picture its own
    assert changes[0] > changes[1] > changes[2] > changes[3] == 0.0  # t = 999, 759, 499, 259


def test_condition_noise_goes_over_a_wrapper_that_is_there_already_and_is_told_by_the_seed(graph):
    from fewstep.host import condition_noise

    model, passes = counted(graph[3])
    made = [sampled(condition_noise.apply(model, 0.3, 0.4, seed), graph, 1.0) for seed in (1, 1, 2)]
    assert len(passes) == 12 and torch.equal(made[0], made[1]) and (made[0] - made[2]).abs().mean() > 0.01
    assert torch.equal(sampled(condition_noise.apply(model, 0.0, 0.4, 1), graph, 1.0), sampled(model, graph, 1.0))
