"""After a training, a cancelled one and one that failed, the host is as it was before."""

import gc
import sys

import pytest
import torch
from fewstep.tests.helpers.in_process import bits
from fewstep.tests.helpers.lora_runs import METHODS, run

pytest.importorskip("comfy", reason="the embedded host is not installed here")


def host_modules() -> dict[str, dict]:
    """What the host's modules hold, by identity: an exchanged function or class would show."""
    modules = {name: module for name, module in sys.modules.items() if name.split(".")[0] in ("comfy", "nodes")}
    return {
        name: {key: id(value) for key, value in vars(module).items() if callable(value)}
        for name, module in modules.items()
    }


def hooks_of(net: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks")
    return {name: tuple(len(getattr(part, kind)) for kind in kinds) for name, part in net.named_modules()}


def state_of_the_host(tiny) -> dict:
    """Everything that a run could leave behind, as values that compare."""
    from comfy import model_management

    model, clip, vae = tiny
    networks = {"model": model.model, "clip": clip.cond_stage_model, "vae": vae.first_stage_model}
    weights = {f"{n}.{k}": w for n, net in networks.items() for k, w in net.named_parameters()}
    return {
        "grad mode": (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled()),
        "deterministic": (
            torch.are_deterministic_algorithms_enabled(),
            torch.backends.cudnn.deterministic,
            torch.backends.cudnn.benchmark,
            torch.backends.cuda.matmul.allow_tf32,
        ),
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "default dtype": torch.get_default_dtype(),
        "random numbers": torch.get_rng_state().tolist(),
        "training flag": getattr(model_management, "in_training", None),
        "MODEL": (dict(model.patches), dict(model.object_patches), str(model.model_options), len(model.backup)),
        "hooks": {name: hooks_of(net) for name, net in networks.items()},
        "own forwards": [n for net in networks.values() for n, part in net.named_modules() if "forward" in vars(part)],
        "weights": {name: (id(w), w.dtype, w.device, w.requires_grad, w.grad is None) for name, w in weights.items()},
        "modes": {f"{n}.{k}": part.training for n, net in networks.items() for k, part in net.named_modules()},
        "modules": host_modules(),
    }


def assert_as_before(before: dict, tiny) -> None:
    after = state_of_the_host(tiny)
    after["modules"] = {name: after["modules"].get(name) for name in before["modules"]}  # a run may import more
    assert {name for name, value in before.items() if after[name] != value} == set()


def copies() -> int:
    """U-Nets that are alive."""
    gc.collect()
    kind = "UNetModel"
    return sum(type(thing).__name__ == kind for thing in gc.get_objects() if isinstance(thing, torch.nn.Module))


class Pressed(Exception):
    """Stands for the host's own exception of a pressed cancel button."""


RUNS = {
    "TSCD": {"method": "TSCD", "gradient_checkpointing": True},
    "DMD": {"method": "DMD", "precision": "bf16", "ema_decay": 0.0},
    "Imagine Flash, best": {"method": "ImagineFlash", "keep": "best", "save_every": 1},
}


@pytest.fixture(scope="module")
def used(tiny, tmp_path_factory):
    """The tiny base after a first run, which imports whatever a run imports and lets the host load its models."""
    run(tiny, tmp_path_factory.mktemp("first"), METHODS["SwiftBrush"](), steps=1)
    return tiny


@pytest.mark.parametrize("name", RUNS)
def test_a_run_leaves_the_host_as_it_was(name, used, tmp_path):
    options = dict(RUNS[name])
    weights, before, alive = bits(used[0]), state_of_the_host(used), copies()
    run(used, tmp_path, METHODS[options.pop("method")](), steps=2, **options)
    assert_as_before(before, used)
    assert all(torch.equal(tensor, weights[key]) for key, tensor in bits(used[0]).items())
    assert copies() <= alive


@pytest.mark.parametrize("error", [Pressed(), RuntimeError("out of memory")], ids=["cancel", "an error"])
@pytest.mark.parametrize("when", [1, 4], ids=["while the data is made", "in the loop"])
def test_a_run_that_ends_early_leaves_the_host_as_it_was(when, error, used, tmp_path, monkeypatch):
    """The check for a pressed button is passed so many times, and then raises."""
    from comfy import model_management

    weights, before, alive = bits(used[0]), state_of_the_host(used), copies()
    passed = []

    def check() -> None:
        passed.append(1)
        if len(passed) > 6 * when:
            raise error

    with monkeypatch.context() as patch:
        patch.setattr(model_management, "throw_exception_if_processing_interrupted", check)
        with pytest.raises(type(error)):
            run(used, tmp_path, METHODS["TSCD"](), steps=20, gradient_checkpointing=True)
    error.__traceback__ = None  # it holds the frames, and with them the copy
    assert_as_before(before, used)
    assert all(torch.equal(tensor, weights[key]) for key, tensor in bits(used[0]).items())
    assert copies() <= alive


def test_a_refused_run_leaves_the_host_as_it_was(used, tmp_path):
    before = state_of_the_host(used)
    with pytest.raises(ValueError, match="no layer of this model"):
        run(used, tmp_path, METHODS["DMD"](), layers="to_x")
    assert_as_before(before, used)


def test_the_host_draws_the_same_image_before_and_after(used, tmp_path):
    from fewstep.host import conditioning, sampling

    def drawn() -> torch.Tensor:
        prompt, empty = (conditioning.encode_text(used[1], text) for text in ("red apple, 3d style", ""))
        return sampling.draw(used[0], [prompt], empty, sampling.unit_noise((4, 12, 12), 0, [0]), steps=2, cfg=2.0)

    before = drawn()
    run(used, tmp_path, METHODS["TSCD"](), steps=1)
    assert torch.equal(drawn(), before)
