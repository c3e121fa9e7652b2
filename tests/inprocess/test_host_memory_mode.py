"""The host's weights move between devices as the host moves them: in inference mode, so that they can be read again."""

import pytest
import torch
from torch import nn


@pytest.fixture
def modes(tiny, monkeypatch):
    """Whether inference mode was on at each load and unload."""
    from comfy import model_management

    seen = []

    def watched(function):
        def call(*args, **kwargs):
            seen.append(torch.is_inference_mode_enabled())
            return function(*args, **kwargs)

        return call

    for name in ("load_models_gpu", "unload_all_models"):
        monkeypatch.setattr(model_management, name, watched(getattr(model_management, name)))
    return seen


def test_a_training_copy_moves_the_models_weights_in_inference_mode(tiny, modes):
    from fewstep.host import model_copy

    with model_copy.training_mode():
        copy = model_copy.TrainingCopy(tiny[0])
    assert modes == [True, True]
    assert not any(parameter.is_inference() for parameter in copy.net.parameters())


def test_text_is_encoded_in_inference_mode_within_a_training(tiny, monkeypatch):
    from fewstep.host import conditioning, model_copy

    clip, seen = tiny[1], []
    encode = clip.encode_from_tokens

    def watched(*args, **kwargs):
        seen.append(torch.is_inference_mode_enabled())
        return encode(*args, **kwargs)

    monkeypatch.setattr(clip, "encode_from_tokens", watched)
    with model_copy.training_mode():
        conditioning.encode_text(clip, "red apple")
    assert seen == [True]


def test_a_weight_that_another_pack_moved_outside_inference_mode_is_told_by_its_values(tiny):
    """Such a weight refuses views; a run on it ended in torch's words about version counters."""
    from fewstep.host import fingerprints

    with torch.inference_mode():
        moved, plain = nn.Linear(4, 3, dtype=torch.float16), nn.Linear(4, 3)
        plain.weight.copy_(moved.weight)
    moved.to(torch.float32)  # as a move to another device
    with pytest.raises(RuntimeError, match="version counter"):
        moved.weight.detach().flatten()
    assert fingerprints.sample_of(moved.weight) == fingerprints.sample_of(plain.weight)
