"""docs/training.md says of published sizes what the estimate says; the rows whose class this host has."""

import pytest
from fewstep.benchmarks.memory import estimates
from fewstep.tests.helpers import small_models


@pytest.mark.parametrize("name", ["SDXL", "Z-Image"])
def test_the_page_says_what_the_estimate_says(name, tmp_path, monkeypatch):
    """Within 3 %: hosts differ in what a pass keeps."""
    small_models.start(tmp_path)
    import comfy.supported_models as supported
    from fewstep.host import folders

    if not hasattr(supported, estimates.BASES[name].family):
        pytest.skip(f"this host has no {name}")
    monkeypatch.setattr(folders, "output_folder", lambda: tmp_path)
    line = next(line for line in estimates.PAGE.read_text("utf-8").splitlines() if line.startswith(f"| {name} ("))
    said = [float(cell.removesuffix(" GB")) for cell in line.strip("| ").split(" | ")[1:]]
    found = [count / 1e9 for count in estimates.needs(estimates.BASES[name])[1].values()]
    assert said == pytest.approx(found, rel=0.03)
