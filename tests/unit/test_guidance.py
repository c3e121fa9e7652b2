"""Guidance by step: what is read, and which step a sigma belongs to."""

import pytest
from fewstep.samplers.guidance import scale_at, scales_of, step_of

SIGMAS = [14.6, 4.0, 1.6, 0.7, 0.0]


def test_numbers_are_read_with_commas_or_without():
    assert scales_of("3, 1,1 1") == [3.0, 1.0, 1.0, 1.0] and scales_of("2.5") == [2.5]


@pytest.mark.parametrize("text", ["", " , ", "3, x", "-1", "nan", "1000"])
def test_what_is_no_guidance_is_refused_in_words(text):
    with pytest.raises(ValueError, match=r"cfg by step: expected .* such as 3, 1, 1, 1, got"):
        scales_of(text)


@pytest.mark.parametrize(
    "sigma, step",
    [(20.0, 0), (14.6, 0), (14.5999, 0), (5.0, 0), (4.0, 1), (4.00001, 1), (3.99999, 1), (1.0, 2), (0.1, 3), (0.0, 4)],
)
def test_a_step_reaches_from_its_sigma_to_above_the_next(sigma, step):
    assert step_of(sigma, SIGMAS) == step


def test_the_last_scale_stands_for_all_steps_after_it():
    assert [scale_at(sigma, SIGMAS, [3.0, 1.5]) for sigma in SIGMAS] == [3.0, 1.5, 1.5, 1.5, 1.5]
    assert scale_at(4.0, SIGMAS, [7.0]) == 7.0
