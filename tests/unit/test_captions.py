"""The evaluators of captions: a discriminant that finds known classes, and the colour of a picture's rim."""

import numpy as np
import pytest
from fewstep.benchmarks.quality import captions, data
from fewstep.benchmarks.quality.data import Subject


def test_the_discriminant_finds_classes_that_noise_of_one_direction_hides(tmp_path):
    """Along the first axis the scatter within classes is many times what lies between them."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(4, 6))
    labels = np.repeat(np.arange(4), 60)
    wide = np.array([4.0, *[0.2] * 5])
    drawn, fresh = (centres[labels] + wide * rng.normal(size=(240, 6)) for _ in range(2))
    fitted = captions.discriminant(drawn, labels)
    z = (fresh - fitted["mean"]) @ fitted["axes"]
    found = ((z[:, None] - fitted["means"]) ** 2).sum(-1).argmin(1)
    plain = ((fresh[:, None] - centres) ** 2).sum(-1).argmin(1)
    assert (found == labels).mean() > 0.9 > (plain == labels).mean()


def test_the_shipped_one_knows_every_caption_and_its_own_means():
    retrieval = captions.Retrieval()
    assert len(captions.CLASSES) == len(set(captions.CLASSES)) == len(retrieval.means) == 400
    inverse = np.linalg.pinv(retrieval.axes)
    features = retrieval.means @ inverse + retrieval.mean
    assert retrieval(features) == captions.CLASSES
    subjects = [Subject(name, "object", style) for name, style in captions.CLASSES]
    assert retrieval.share(features, subjects) == 1.0
    assert retrieval.share(features[::-1], subjects) == 0.0


def on(colour: tuple[int, int, int]) -> np.ndarray:
    picture = np.empty((96, 96, 3), np.uint8)
    picture[:] = colour
    picture[20:80, 20:80] = (0, 255, 0)  # the thing itself is another colour
    return picture


@pytest.mark.parametrize("name", ["", *data.COLOURS])
def test_the_rim_has_the_named_colour_whatever_stands_inside(name):
    colour = np.array(data.COLOURS.get(name, data.WHITE))
    assert captions.rim_colour(on(np.clip(colour + 12, 0, 255))) == name


def test_binding_counts_named_grounds_alone():
    subjects = [Subject("fox", "animal", "3d", colour) for colour in ("red", "blue", None)]
    pictures = np.stack([on(data.COLOURS["red"]), on(data.COLOURS["green"]), on(data.COLOURS["red"])])
    assert captions.binding(pictures, subjects) == 0.5
