"""The sweep: what it measures, and its refusals. The host runs it as a workflow (test_host.py)."""

import pytest
import torch

pytest.importorskip("comfy", reason="the embedded host is not installed here")


def test_the_numbers_are_those_of_the_pictures(tiny):
    from fewstep.host import pictures
    from fewstep.nodes import sheets, sweep

    a, b = torch.zeros(2, 4, 4, 3), torch.ones(2, 4, 4, 3)
    half = torch.tensor([1.0, 0.5, 0.25]).expand(2, 4, 4, 3)
    drawn, norms = {1.0: a, 0.0: b, 0.5: half}, {1.0: 2.0, 0.0: 1.0, 0.5: 3.0}
    row = sweep.measured(0.5, drawn, norms)
    assert row["norm"] == 1.5 and row["saturation"] == 0.75
    assert row["to A"] == pytest.approx(half.mean().item()) and row["to B"] == pytest.approx(1 - half.mean().item())
    assert sheets.sheet(["a", "b"], [half, a]).shape == (1, 8, pictures.MARGIN + 8, 3)
    assert len(sheets.table([row]).splitlines()) == 3


@pytest.mark.parametrize("text, message", [("a, b", "must be numbers"), ("", "1 to 16"), ("99", "-10..10")])
def test_weights_that_make_no_sense_get_a_sentence(text, message, tiny):
    from fewstep.nodes import sheets

    with pytest.raises(ValueError, match=message):
        sheets.span(text, float, "weights", -10, 10)
