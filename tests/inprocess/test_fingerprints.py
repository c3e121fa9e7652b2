"""A run knows its model again: by weights, patches, and the objects that stand in place of the model's own."""

import pytest
import torch
from fewstep.tests.helpers.in_process import short_lora

pytest.importorskip("comfy", reason="the embedded host is not installed here")


def with_sampling(model, kind: str, **settings):
    """As a ModelSampling node makes it, a class of its own each time."""
    from comfy import model_sampling

    class ModelSamplingAdvanced(model_sampling.ModelSamplingDiscrete, getattr(model_sampling, kind)):
        pass

    sampling = ModelSamplingAdvanced(model.model.model_config)
    for name, value in settings.items():
        setattr(sampling, name, value)
    patched = model.clone()
    patched.add_object_patch("model_sampling", sampling)
    return patched


def test_models_that_differ_in_an_object_patch_have_fingerprints_of_their_own(tiny):
    from fewstep.host import fingerprints

    eps, v = with_sampling(tiny[0], "EPS"), with_sampling(tiny[0], "V_PREDICTION")
    shifted = with_sampling(tiny[0], "EPS", shift=3.0)
    rescaled = with_sampling(tiny[0], "EPS")
    rescaled.object_patches["model_sampling"].set_sigmas(2 * rescaled.object_patches["model_sampling"].sigmas)
    models = (tiny[0], eps, v, shifted, rescaled)
    assert len({fingerprints.of_model(model) for model in models}) == len(models)
    assert fingerprints.of_model(with_sampling(tiny[0], "V_PREDICTION")) == fingerprints.of_model(v)
    assert fingerprints.of_model(v.clone()) == fingerprints.of_model(v)


def test_a_guided_layer_is_told_from_one_of_another_guidance(tiny):
    from fewstep.host import fingerprints
    from fewstep.host.loading import models

    projection = torch.ones(tiny[0].model.diffusion_model.time_embed[0].weight.shape[1], 256)
    four, five = (fingerprints.of_model(models.with_guidance(tiny[0], projection, g)) for g in (4.0, 5.0))
    assert four != five and four == fingerprints.of_model(models.with_guidance(tiny[0], projection, 4.0))


def test_functions_differ_by_what_they_hold_and_not_by_where_they_lie():
    from fewstep.host import fingerprints

    def scaled(factor: float):
        return lambda x: factor * x

    said = [b"".join(fingerprints.said_by(scaled(factor))) for factor in (1.0, 1.0, 2.0)]
    assert said[0] == said[1] != said[2]


def test_a_run_does_not_go_on_under_a_teacher_that_predicts_something_else(tiny, tmp_path):
    model, clip, vae = tiny
    short_lora((with_sampling(model, "EPS"), clip, vae), tmp_path, steps=1)
    with pytest.raises(ValueError, match="base .another model, or other LoRAs on it"):
        short_lora((with_sampling(model, "V_PREDICTION"), clip, vae), tmp_path, steps=2)
