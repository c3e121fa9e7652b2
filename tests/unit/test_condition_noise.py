"""Noise on the condition: how much there is when, and what it leaves as it was."""

import pytest
import torch
from fewstep.samplers.condition_noise import noised, weight_at

TEXT = 3 + 2 * torch.randn((2, 77, 64), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "time, amount, fade, weight",
    [(1.0, 0.3, 0.4, 0.3), (0.7, 0.3, 0.4, 0.15), (0.4, 0.3, 0.4, 0.0), (0.1, 0.3, 0.4, 0.0), (0.5, 1.0, 0.0, 0.5)],
)
def test_the_noise_fades_from_the_first_step_to_the_time_it_is_told(time, amount, fade, weight):
    assert weight_at(time, amount, fade) == pytest.approx(weight)


@pytest.mark.parametrize("weight", [0.1, 0.5, 1.0])
def test_mean_and_deviation_stay_and_the_share_of_the_text_is_told(weight):
    made = noised(TEXT, weight, 1, [0, 1])
    assert torch.allclose(made.mean((1, 2)), TEXT.mean((1, 2)), atol=0.1)
    assert torch.allclose(made.std((1, 2)), TEXT.std((1, 2)), rtol=0.03)
    correlation = torch.corrcoef(torch.stack([made[0].flatten(), TEXT[0].flatten()]))[0, 1]
    assert correlation == pytest.approx((1 - weight) ** 0.5, abs=0.03)


def test_a_picture_has_its_own_noise_whatever_the_batch_and_the_seed_changes_it():
    whole = noised(TEXT, 0.3, 1, [0, 1])
    assert torch.equal(noised(TEXT[1:], 0.3, 1, [1]), whole[1:])
    same = TEXT[:1].expand(2, -1, -1)
    made = noised(same, 0.3, 1, [0, 1])
    assert (made[0] - made[1]).abs().mean() > 0.1 and (noised(same, 0.3, 2, [0, 1]) - made).abs().mean() > 0.1
    assert noised(TEXT, 0.0, 1, [0, 1]) is TEXT
