"""The one table of samplers: every function takes what its row says, and every list of names is that table."""

import inspect

import pytest
from fewstep.samplers.registry import SAMPLERS, timesteps_for
from fewstep.samplers.schedule import SCHEDULES
from fewstep.weights.families import settings


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_function_takes_the_options_of_its_row_and_no_others(name):
    row = SAMPLERS[name]
    parameters = inspect.signature(row.function).parameters.values()
    taken = {p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}
    assert set(row.keywords(0.3, 1)) == set(row.options) == taken and row.schedule in SCHEDULES
    assert row.noisy == ("seed" in taken)


def test_a_file_can_name_every_sampler_and_schedule():
    assert set(settings.SAMPLERS) == set(SAMPLERS) and set(settings.SCHEDULES) == set(SCHEDULES)


def test_a_list_of_the_students_own_goes_before_its_schedule():
    own = ((999,), (999, 750, 499, 249))
    assert timesteps_for("lcm", 4, own=own) == [999, 750, 499, 249] and timesteps_for("lcm", 1, own=own) == [999]
    assert timesteps_for("lcm", 2, own=own) == SCHEDULES["lcm"](2)  # none of two steps
    assert timesteps_for("lcm", 4, 0.5, own=own) == SCHEDULES["lcm"](4, 0.5)  # own lists start from noise
