"""What a training shows while it runs: texts, sheets with labels, files in the run's folder."""

import pytest
import torch
from fewstep.tests.helpers.in_process import PROMPTS, short_lora
from PIL import Image

pytest.importorskip("comfy", reason="the embedded host is not installed here")


def test_a_sheet_breaks_long_labels_and_says_what_is_under_each_cell(tiny):
    from fewstep.host.pictures import LINE, MARGIN, broken, sheet

    cells = [torch.full((1, 20, 96, 3), value) for value in (0.0, 1.0)]
    plain, words = sheet(["a"], cells, ["x", "y"]), sheet(["a"], cells, ["x", "y"], ["4 passes", "8 passes\n0.1 s"])
    assert plain.size == (MARGIN + 192, 20 + LINE + 6) and words.size == (MARGIN + 192, 20 + LINE + 6 + 2 * LINE + 6)
    assert broken("one two three four five", 96) == ["one two three", "four five"]
    assert sheet(["字"], cells[:1]).size == (MARGIN + 96, 20)  # no letter of the plain font, and no error


def test_strips_hold_few_columns_and_what_came_later_is_set_aside(tmp_path, tiny):
    from fewstep.host.training.curve import curve
    from fewstep.host.training.gallery import Gallery, spread
    from fewstep.training.state import RunFolder

    assert spread(list(range(1, 101)), 3) == [1, 51, 100] and spread([1, 2], 3) == [1, 2]
    gallery = Gallery(RunFolder(tmp_path), ["a", "b"], [torch.zeros(8, 8, 3), torch.ones(8, 8, 3)])
    gallery.begin(0)
    picture = curve([{"step": 1, "loss": 0.5}], (200, 200))
    for step in range(10, 160, 10):
        gallery.add(step, [torch.zeros(8, 8, 3), torch.full((8, 8, 3), step / 160)], picture)
    strip = Image.open(tmp_path / "previews" / "strip-2.png")
    row = [strip.getpixel((114 + 8 * column, strip.height - 4))[0] for column in range(13)]
    assert row[0] == 255 and row[1] < 24 and row[1:] == sorted(row[1:]) and abs(row[-1] - 239) < 3
    gallery.row(10).write_bytes(b"no picture")
    gallery.begin(30)
    assert gallery.steps() == [20, 30] and (tmp_path / "set-aside" / "step-40.jpg").is_file()
    Gallery(RunFolder(tmp_path), ["a", "c"], gallery.teacher).begin(30)
    assert gallery.steps() == [] and (tmp_path / "previews" / "prompts.txt").read_text() == "a\nc\n"


def test_texts_say_step_loss_seconds_and_where_it_was_resumed(tiny, tmp_path, monkeypatch):
    from fewstep.host import progress

    said = []
    monkeypatch.setattr(progress, "say", said.append)
    short_lora(tiny, tmp_path, steps=2)
    assert any(text.startswith("step 2 of 2, loss 0.") for text in said) and said[0].startswith("data: ")
    said.clear()
    short_lora(tiny, tmp_path, steps=4)
    assert "resuming at step 2 of 4" in said and "resumed at step 2" in said[-1]
    folder = tmp_path / "output" / "fewstep_runs" / "short" / "previews"
    assert Image.open(folder / "step-4.jpg").size == (96 * len(PROMPTS), 96)


def test_without_a_vae_the_curve_alone_is_shown(tiny, tmp_path, monkeypatch):
    from fewstep.host import progress

    shown = []
    monkeypatch.setattr(progress.Progress, "show", lambda self, done, picture=None: shown.append(picture))
    model, clip, _ = tiny
    short_lora((model, clip, None), tmp_path, steps=2)
    pictures = [picture for picture in shown if picture is not None]
    assert [picture.size for picture in pictures] == [(800, 500)]
    assert [file.name for file in (tmp_path / "output" / "fewstep_runs" / "short" / "previews").iterdir()] == [
        "curve.png"
    ]


def test_scalars_are_what_tensorboard_reads(tmp_path, tiny):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason="not installed")
    from fewstep.host.training.tensorboard import FOLDER, check, scalars

    check()
    for first, steps in ((0, (1, 2, 3)), (2, (3, 4))):  # resumed at step 2
        write = scalars(tmp_path, first)
        for step in steps:
            write({"step": step, "loss": step / 10 + first, "seconds": 1.0})
    found = events.EventAccumulator(str(tmp_path / FOLDER)).Reload()
    shown = [(one.step, round(one.value, 4)) for one in found.Scalars("loss")]
    assert shown == [(1, 0.1), (2, 0.2), (3, 2.3), (4, 2.4)] and "seconds" in found.Tags()["scalars"]


def test_without_tensorboard_the_sentence_says_what_to_do(monkeypatch, tiny):
    from fewstep.host.training import tensorboard

    monkeypatch.setattr(tensorboard, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install tensorboard\), or turn it off"):
        tensorboard.check()
