"""Timestep lists: segments, image to image, and what cannot be walked."""

import pytest
import torch
from fewstep.samplers import schedule
from fewstep.samplers.ddim import sample_ddim
from fewstep.samplers.tcd import sample_tcd
from fewstep.tests.helpers.fake_host import DiscreteSampling, FlowSampling, mixture_model


def test_segments_are_cut_on_the_grid():
    assert schedule.segment_timesteps(1) == [999]
    assert schedule.segment_timesteps(2) == [999, 499]
    assert schedule.segment_timesteps(4) == [999, 739, 499, 239]
    assert schedule.segment_timesteps(8) == [999, 859, 739, 619, 499, 359, 239, 119]
    assert schedule.segment_floors(4) == [0, 239, 499, 739]


@pytest.mark.parametrize("grid", [20, 25, 40, 50, 100])
@pytest.mark.parametrize("segments", [1, 2, 3, 4, 6, 8])
def test_no_point_of_the_grid_is_without_room_below_it(segments, grid):
    """Between the floor of a point's segment and the grid point under it lies at least one timestep to jump to."""
    floors = schedule.segment_floors(segments, grid)
    points = [(i + 1) * 1000 // grid - 1 for i in range(grid)]
    assert floors == sorted(set(floors)) and set(floors[1:]) <= set(points)
    for start, below in zip(points[1:], points):
        assert max(floor for floor in floors if floor < start) <= below


def test_segments_of_image_to_image_are_the_floors_below_the_start():
    assert schedule.segment_timesteps(4, 0.8) == [799, 739, 499, 239]
    assert schedule.segment_timesteps(4, 0.5) == [499, 239]
    assert schedule.segment_timesteps(8, 0.02) == [19]


@pytest.mark.parametrize("segments", [1, 2, 4, 8])
@pytest.mark.parametrize("sampling", [DiscreteSampling(), FlowSampling()], ids=["vp", "flow"])
@pytest.mark.parametrize(
    "sampler, options", [(sample_tcd, {"eta": 0.0}), (sample_tcd, {"eta": 0.3}), (sample_ddim, {})]
)
def test_every_jump_lands_on_its_floor(segments, sampling, sampler, options):
    """The network is asked at the top and at the floors, as the model's own schedule names them, and nowhere else."""
    model = mixture_model(torch.zeros(1, dtype=torch.long), isinstance(sampling, FlowSampling))
    model.model_sampling = sampling
    timesteps = schedule.segment_timesteps(segments)
    sigmas = schedule.sigmas_of(sampling, timesteps)
    sampler(model, torch.zeros(1, 2, 1, 1) + sigmas[0], sigmas, {}, **options)
    if isinstance(sampling, FlowSampling):
        assert model.visited == pytest.approx([3 * t / (1 + 2 * t) for t in ((n + 1) / 1000 for n in timesteps)])
    else:
        assert [int(sampling.timestep(torch.tensor(sigma))) for sigma in model.visited] == timesteps


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: schedule.segment_timesteps(0), r"Segments: expected 1..50 .* got 0"),
        (lambda: schedule.segment_timesteps(51), r"Segments: expected 1..50 .* got 51"),
        (lambda: schedule.segment_timesteps(4, 0.01), "nothing is left of 50 original steps at denoise 0.01"),
        (lambda: schedule.segment_floors(9, 8), "expected 1..8"),
    ],
)
def test_impossible_segments_are_refused_in_words(call, message):
    with pytest.raises(ValueError, match=message):
        call()
