"""Wan's classes in the host: those of a text alone are trained, the others are refused before anything is drawn."""

import pytest
import torch
from fewstep.tests.helpers import small_models
from fewstep.tests.helpers.transformer_runs import METHODS, made, run

TRAINED = ("Wan", "Wan 2.2 5B")  # small_models' names of WAN21_T2V and WAN22_T2V


def others() -> list[type]:
    """Every other class of Wan that this host has."""
    import comfy.supported_models as supported

    ours = {small_models.CONFIGS[base][0] for base in TRAINED}
    kinds = [kind for kind in vars(supported).values() if isinstance(kind, type)]
    return [kind for kind in kinds if issubclass(kind, supported.WAN21_T2V) and kind.__name__ not in ours]


def small(kind: type):
    """A MODEL of the class, as small as Wan's."""
    from comfy.model_patcher import ModelPatcher

    with torch.inference_mode():
        network = kind({**small_models.CONFIGS["Wan"][1], **kind.unet_config}).get_model({}, "")
    return ModelPatcher(network, torch.device("cpu"), torch.device("cpu"))


def test_every_class_of_more_than_a_text_is_refused(tmp_path):
    made("Wan", tmp_path)
    found = others()
    assert {"WAN21_I2V", "WAN21_FunControl2V", "WAN21_Camera", "WAN21_Vace"} <= {kind.__name__ for kind in found}
    for kind in found:
        refusal = f"the model is a {kind.__name__}, which the host samples with more than a text: .* Load the text-to-"
        with pytest.raises(ValueError, match=refusal):
            run(small(kind), tmp_path, METHODS["LCM"]())
    assert not list(tmp_path.rglob("latents-*"))


@pytest.mark.parametrize("base", TRAINED)
def test_the_classes_of_a_text_alone_are_trained(base, tmp_path):
    from fewstep.host import architectures

    model = made(base, tmp_path)
    assert architectures.is_trained(model) and not architectures.other_class(model)
