"""A short run of the ControlNet's recipe on drawn pictures: no download, seconds on a CPU."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "assets" / "controlnet" / "fewstep-tiny-sd-edges.safetensors"
pytest.importorskip("comfy", reason="the recipe trains the host's own classes")


@pytest.fixture(scope="module")
def parts():
    """(frozen base, its VAE, edges of drawn pictures)."""
    from fewstep.host import headless

    headless.start("cpu")
    from fewstep.benchmarks.quality.data import Subject
    from fewstep.recipes.controlnet import data, train
    from fewstep.tests.helpers.image_files import drawn

    model, vae = train.base(ROOT / "assets" / "checkpoints" / "fewstep-tiny-sd.safetensors")
    pictures = {("disc", "3d"): drawn("ellipse", (200, 40, 40)), ("box", "3d"): drawn("rectangle", (40, 90, 200))}
    subjects = [Subject(name, "object", "3d") for name in ("disc", "box")] * 4

    def encoded(folder: Path) -> data.Edges:
        return data.encoded(vae, pictures, subjects, 0, folder / "edges.safetensors")

    return model, encoded


def test_edges_are_thin_and_kept(parts, tmp_path):
    _, encoded = parts
    made, again = encoded(tmp_path), encoded(tmp_path)
    assert made.edges.shape == (8, 1, 96, 96) and set(made.edges.unique().tolist()) == {0, 1}
    assert 0.01 < made.edges.float().mean() < 0.15
    assert torch.equal(made.edges, again.edges) and torch.equal(made.latents, again.latents)


def test_a_fresh_branch_changes_nothing_and_a_trained_one_hears_the_edges(parts, tmp_path):
    from fewstep.recipes.base_model.config import Budget, Recipe
    from fewstep.recipes.base_model.networks import Tokens
    from fewstep.recipes.controlnet import train

    model, encoded = parts
    data = encoded(tmp_path)
    x, t, words = data.latents[:2].float(), torch.tensor([900.0, 500.0]), Tokens()(["disc", "box"])
    edges = data.edges[:2].float().expand(-1, 3, -1, -1)

    @torch.no_grad()
    def heard(net) -> float:
        """How much swapping the two pictures' edges changes what is predicted."""
        one, other = (train.controlled(model, net, x, t, seen, words) for seen in (edges, edges.flip(0)))
        return float((one - other).abs().mean())

    with torch.no_grad():
        plain = model.unet(x, t, context=model.text(words)[0])
        fresh = train.fresh(model, edges, 0)
        assert torch.equal(train.controlled(model, fresh, x, t, edges, words), plain)
    recipe = Recipe(batch=4, rate=1e-3, repeats=1)
    net, run = train.train(model, data, recipe, Budget(12), tmp_path / "run.pt")
    assert heard(fresh) == 0 and heard(net) > 1e-4 and np.isfinite(run.losses).all()
    train.save(net, tmp_path / "c.safetensors", recipe, {"steps": 12})
    with safe_open(tmp_path / "c.safetensors", "pt") as ours, safe_open(SHIPPED, "pt") as shipped:
        assert set(ours.keys()) == set(shipped.keys())
        assert ours.metadata().keys() == shipped.metadata().keys()
