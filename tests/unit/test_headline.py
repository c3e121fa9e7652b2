"""The table of students: who stands in it, and what its page says."""

import json

import pytest
from fewstep.benchmarks.evidence.claim import STUDENTS
from fewstep.benchmarks.headline import page, rows
from fewstep.benchmarks.headline.__main__ import PAGE, RESULTS
from fewstep.benchmarks.quality.sample import content, own_timesteps

ROWS = rows.every()


def test_every_shipped_student_and_the_base_stand_in_it_by_steps():
    names = {name.split(" | ")[1] for name in ROWS}
    assert set(STUDENTS) == set(rows.STEPS) < names
    steps = [int(name.split(" | ")[0]) for name in ROWS]
    assert steps == sorted(steps) and len({name for name in names if name.startswith("base")}) >= 3


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.lora])
def test_a_student_is_asked_at_as_many_timesteps_as_it_has_steps(name):
    timesteps = own_timesteps(ROWS[name])
    assert len(timesteps) == int(name.split(" | ")[0]) and timesteps == sorted(timesteps, reverse=True)


def test_the_page_is_made_of_figures_of_the_files_that_lie_here():
    found = json.loads(RESULTS.read_text(encoding="utf-8"))
    assert page.page(found) == PAGE.read_text(encoding="utf-8")
    assert list(found) == list(ROWS)
    for name, row in ROWS.items():
        assert found[name]["file"] == (content(row.lora) if row.lora else "")
        assert all(figure in found[name] for figure in page.FIGURES)


def test_a_row_has_a_cell_for_each_figure():
    one = {figure: 0.5 for figure in page.FIGURES} | {"passes": 4.0, "n": 10, "seed": 1}
    (head,) = [line for line in page.page({"4 | x": one}).splitlines() if line.startswith("| steps | what")]
    assert page.row("4 | x", one).count("|") == head.count("|") == len(page.FIGURES) + 4
