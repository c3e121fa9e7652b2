"""FewStep Compare and FewStep Schedule Plot through /prompt: what is in the sheet, what is counted, what is refused."""

import pytest
from fewstep.tests.helpers.server_runs import api, assert_is_a_picture, pictures


def shown(client, workflow: dict, node: str) -> str:
    return client.submit(workflow, timeout=300)[node]["text"][0]


def test_every_combination_is_a_column_with_its_passes(client):
    workflow = api("compare", node_5={"samplers": "auto, tcd", "steps": "1, 4", "cfgs": "0, 2", "seeds": "3, 4"})
    made = pictures(client, workflow)
    (sheet,) = made["fewstep_compare"]
    assert sheet.shape[1] == 110 + 8 * 96 and sheet.shape[0] > 2 * 96
    top = sheet.shape[0] - 2 * (96 + 2 * 14 + 6)
    for column in (1, 3):  # auto at 1 and 4 steps, of cfg 2
        assert_is_a_picture(sheet[top : top + 96, 110 + 96 * column : 206 + 96 * column])
    (plot,) = made["fewstep_schedules"]
    assert plot.std() > 0.05
    workflow["5"]["inputs"]["seeds"] = "3"
    lines = [[part.strip() for part in line.split("|")[1:-1]] for line in shown(client, workflow, "5").splitlines()]
    head, columns = lines[0], lines[2:]
    assert head[:3] == ["column", "seconds", "passes"] and len(columns) == 8
    assert [line[0] for line in columns[:4]] == [
        *("auto (lcm), 1 step, cfg 1", "auto (lcm), 1 step, cfg 2"),
        *("auto (lcm), 4 steps, cfg 1", "auto (lcm), 4 steps, cfg 2"),
    ]
    assert [float(line[2]) for line in columns] == [1, 2, 4, 8, 1, 2, 4, 8]
    assert all(float(line[1]) > 0 for line in columns)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"samplers": "auto, eulr"}, "FewStep Compare: samplers takes auto, lcm, tcd, ddim, imagine_flash, got"),
        ({"etas": "0, 0.3"}, "FewStep Compare: etas: the sampler lcm has none"),
        ({"seeds": "1, 2, 3, 4, 5, 6, 7, 8, 9"}, "9 seeds x 8 columns are over 64 cells"),
        ({"loras": "nobody.safetensors"}, 'FewStep Compare: "nobody.safetensors" is in no loras folder'),
        ({"steps": "0"}, "steps must lie in 1..50"),
    ],
)
def test_what_cannot_be_compared_is_said_before_anything_is_drawn(client, change, message):
    with pytest.raises(RuntimeError, match=message):
        client.submit(api("compare", node_5=change), timeout=300)


def test_the_plot_has_the_files_own_list_and_the_sigmas_that_are_connected(client):
    workflow = api("compare")
    del workflow["5"], workflow["6"]
    workflow["8"]["inputs"]["sigmas"] = ["7", 3]
    lines = shown(client, workflow, "8").splitlines()
    assert lines[:3] == ["lcm: 999, 759, 499, 259", "trailing: 999, 749, 499, 249", "segments: 999, 739, 499, 239"]
    assert lines[3].startswith("the file's: FewStep LCM: 999, ") and lines[4].startswith("sigmas connected: 999, ")
