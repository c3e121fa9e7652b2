"""The page of what a GPU measured: its figures, what is missing, and a machine that never had one."""

import json

from fewstep.benchmarks.gpu import page, table
from fewstep.benchmarks.gpu.cases import CASES, METHODS

ROW = {"size": "SD1.5", "method": "LCM", "precision": "bf16", "checkpointing": True}
MEASURED = ROW | {"seconds": 0.4368, "peak": 4_293_164_032, "estimate": 4_274_278_028}
MACHINE = {"device": "Some GPU", "memory": 24_000_000_000, "torch": "2.9"}


def test_a_row_has_seconds_peak_and_estimate():
    assert table.training([MEASURED]).splitlines()[-1] == "| SD1.5 | LCM | bf16 | yes | 0.437 | 4.3 GB | 4.3 GB |"


def test_a_case_that_failed_says_why():
    found = table.training([ROW | {"error": "OutOfMemoryError: 3 GB"}])
    assert found.splitlines()[-1].startswith("| SD1.5 | LCM | bf16 | yes | OutOfMemoryError: 3 GB |")


def test_the_page_names_the_machine_and_what_is_missing():
    late = ROW | {"method": "DMD", "error": "not measured: the time was over"}
    text = page.page({"machine": MACHINE, "training": [MEASURED, late], "sampling": {"lcm, beside lcm": 1.087}})
    assert "Some GPU, PyTorch 2.9, 24 GB" in text
    assert "| lcm, beside lcm | 1.087 |" in text
    assert "- SD1.5, DMD, in bf16, with checkpointing: not measured: the time was over" in text


def test_without_a_gpu_the_page_says_so():
    assert "No GPU has run it yet" in page.page(None)


def test_the_shipped_page_is_made_of_the_shipped_figures():
    found = json.loads(page.FIGURES.read_text(encoding="utf-8")) if page.FIGURES.exists() else None
    assert page.PAGE.read_text(encoding="utf-8") == page.page(found)


def test_every_case_is_of_a_method_that_exists():
    assert {case.method for case in CASES} <= set(METHODS)
    assert all(METHODS[case.method]().turns for case in CASES)
