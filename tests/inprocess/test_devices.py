"""What would break on a GPU or on a later host, shown without them."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

pytest.importorskip("comfy", reason="the embedded host is not installed here")
from fewstep.tests.helpers.estimates import job_of


def test_models_are_compared_where_one_lies_on_the_gpu(tiny, monkeypatch):
    """Fake tensors have a device and no memory; mixing devices raises as on a real GPU."""
    from comfy import model_sampling
    from fewstep.host.training import check
    from torch._subclasses.fake_tensor import FakeTensorMode

    def lying_on(device):
        sampling = model_sampling.EPS()
        sampling.sigma_data, sampling.sigma_max = 1.0, torch.ones((), device=device)
        return SimpleNamespace(get_model_object=lambda _: sampling)

    monkeypatch.setattr(torch, "allclose", lambda *_, **__: True)  # fake tensors have no values
    with FakeTensorMode():
        assert check.speak_alike(lying_on("cuda"), lying_on("cpu"))


def test_weights_that_only_look_like_bf16_are_known_before_anything_is_drawn(tiny):
    """A later host's quantised weight says the dtype that it is read as, and what it is in `storage_dtype`."""
    from fewstep.host.training import check

    job, weight = job_of(tiny, train="full"), next(tiny[0].model.diffusion_model.parameters())
    check.check(job)
    weight.storage_dtype = torch.float8_e4m3fn
    try:
        with pytest.raises(ValueError, match="FewStepDistill: train full .* quantised: float8_e4m3fn"):
            check.check(job)
    finally:
        del weight.storage_dtype


def test_a_streamed_model_without_a_file_is_refused_with_a_sentence(tiny):
    from fewstep.host import model_copy

    def clone(disable_dynamic=False):
        raise RuntimeError("Cannot create non-dynamic delegate")

    streamed = SimpleNamespace(model=SimpleNamespace(diffusion_model=nn.Linear(1, 1)), clone=clone)
    with pytest.raises(ValueError, match="FewStepDistill: this MODEL's weights are streamed .* stock loader"):
        model_copy.TrainingCopy(streamed, node="FewStepDistill")


def test_new_networks_go_where_both_of_our_nodes_write_them(monkeypatch, tmp_path):
    """Later hosts list the older folder first; saving and distilling take the same one."""
    from fewstep.host import folders

    paths = [str(tmp_path / "unet"), str(tmp_path / "diffusion_models")]
    monkeypatch.setattr(folders.folder_paths, "folder_names_and_paths", {"diffusion_models": (paths, set())})
    monkeypatch.setattr(folders.folder_paths, "get_folder_paths", lambda kind: paths)
    assert folders.own_folder(folders.network_kind()) == folders.network_folder() == tmp_path / "diffusion_models"
    monkeypatch.setattr(folders.folder_paths, "folder_names_and_paths", {"unet": (paths[:1], set())})
    monkeypatch.setattr(folders.folder_paths, "get_folder_paths", lambda kind: paths[:1])
    assert folders.own_folder(folders.network_kind()) == tmp_path / "unet"
