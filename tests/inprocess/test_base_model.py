"""A short run of the whole recipe of the tiny base on drawn pictures: no download, seconds on a CPU."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from fewstep.tests.helpers.image_files import drawn
from safetensors import safe_open
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "assets" / "checkpoints" / "fewstep-tiny-sd.safetensors"
pytest.importorskip("comfy", reason="the recipe trains the host's own classes")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory):
    """Run the recipe: (checkpoint, losses, folder, job)."""
    from fewstep.host import headless

    headless.start("cpu")
    from fewstep.recipes.base_model import recipe
    from fewstep.recipes.base_model.config import Recipe

    pictures = {
        (name, style): drawn(shape, (200, 40 + 60 * (style == "3d"), 40))
        for name, shape in (("disc", "ellipse"), ("box", "rectangle"))
        for style in ("3d", "flat")
    }
    kinds = {"disc": "object", "box": "object"}
    sources = recipe.Sources(pictures, kinds, kinds)
    settings = Recipe(
        vae_steps=20, vae_batch=4, wide_steps=3, steps=20, batch=4, repeats=4, wide_repeats=1, ema=0.5, save_every=100
    )
    folder = tmp_path_factory.mktemp("base")
    job = recipe.Job(sources, settings, folder)
    losses = job.make(folder / "tiny.safetensors")
    return folder / "tiny.safetensors", losses, folder, job


def test_loss_falls(made):
    import json

    _, losses, folder, *_ = made
    vae = json.loads((folder / "vae.json").read_text())["losses"]
    assert np.mean(vae[-5:]) < 0.7 * np.mean(vae[:5])
    assert len(losses["wide"]) == 3 and len(losses["narrow"]) == 20
    assert np.mean(losses["narrow"][-8:]) < 0.9 * np.mean(losses["wide"])


def test_checkpoint_has_the_shipped_layout(made):
    with safe_open(made[0], "pt") as ours, safe_open(SHIPPED, "pt") as shipped:
        shapes = [{name: tuple(f.get_slice(name).get_shape()) for name in f.keys()} for f in (ours, shipped)]  # noqa: SIM118
        assert shapes[0] == shapes[1]
        assert ours.metadata()["fewstep.recipe"].startswith("{")


def test_a_finished_run_resumes_to_the_same_weights(made):
    file, losses, folder, job = made
    again = folder / "again.safetensors"
    assert job.make(again) == losses
    one, two = load_file(file), load_file(again)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_an_interrupted_run_equals_an_uninterrupted_one(tmp_path):
    from fewstep.recipes.base_model.config import Budget, Recipe
    from fewstep.recipes.base_model.loop import Run

    def train(file: Path, stop_at: int | None) -> torch.Tensor:
        torch.manual_seed(0)
        net = torch.nn.Linear(3, 1)
        run = Run(net, [{"params": list(net.parameters()), "lr": 0.1}], Recipe(save_every=4), file)

        def loss(generator: torch.Generator) -> torch.Tensor:
            if run.step == stop_at:
                raise KeyboardInterrupt
            return (net(torch.randn(5, 3, generator=generator)) - 1).square().mean()

        run.train(loss, Budget(20))
        return net.weight.detach()

    whole = train(tmp_path / "whole.pt", None)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut.pt", 11)
    assert torch.equal(train(tmp_path / "cut.pt", None), whole)


def test_host_loads_it_and_draws(made):
    from fewstep.benchmarks.quality.sample import Drawer, Row

    drawer = Drawer(made[0])
    result = drawer.draw(Row("euler", 2, 2.0, "normal"), ["disc, flat style", "box, 3d style"], seed=0)
    assert result.pictures.shape == (2, 96, 96, 3)
    assert result.passes == 4
    assert result.pictures.std() > 0


def test_latents_have_unit_variance(made):
    latents = torch.from_numpy(np.load(made[2] / "latents-narrow.npy")).float()
    assert torch.isfinite(latents).all()
    assert 0.5 < latents.std() < 2


def test_noise_schedule_is_sd():
    from fewstep.recipes.base_model.networks import signal_and_noise

    a, s = signal_and_noise()
    assert torch.allclose(a**2 + s**2, torch.ones(1000))
    assert float(s[-1] / a[-1]) == pytest.approx(14.6146, rel=1e-4)  # SD's sigma_max


def test_decay_starts_low_and_ends_at_zero():
    from fewstep.recipes.base_model.loop import decay

    assert decay(0.0, 0.02) < 0.1
    assert decay(0.02, 0.02) == pytest.approx(1)
    assert math.isclose(decay(1.0, 0.02), 0, abs_tol=1e-12)


def test_recipe_keeps_its_proportions():
    from fewstep.recipes.base_model.config import Recipe

    scaled = Recipe().scaled(1000)
    assert scaled.wide_steps + scaled.steps == 1000
    assert scaled.wide_steps == pytest.approx(1000 * 4300 / 10377, abs=1)
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        Recipe(steps=0)
