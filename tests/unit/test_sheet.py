"""The contact sheet: sizes, places, labels that fit."""

import pytest
from fewstep.launcher import sheet
from PIL import Image

COLOURS = (("red", "lime"), ("blue", "yellow"), ("cyan", "magenta"))


def drawn(note: str = "a note", cell: int = 64) -> Image.Image:
    pictures = [[Image.new("RGB", (16, 16), colour) for colour in row] for row in COLOURS]
    heads = [sheet.Heading("base", "50 passes, 1.40 s"), sheet.Heading("ours", "1 pass", ours=True)]
    return sheet.contact_sheet(pictures, ["a", "b", "c"], heads, "title", note, cell)


def test_every_picture_stands_in_its_cell():
    cell, page = 64, drawn()
    top = 52 + sheet.HEAD
    assert page.width == sheet.LABELS + 2 * (cell + sheet.GAP) + sheet.GAP
    for line, row in enumerate(COLOURS):
        for number, colour in enumerate(row):
            x = sheet.LABELS + number * (cell + sheet.GAP) + cell // 2
            y = top + line * (cell + sheet.GAP) + cell // 2
            assert page.getpixel((x, y)) == Image.new("RGB", (1, 1), colour).getpixel((0, 0))


def test_a_long_note_is_wrapped_not_cut():
    assert drawn("word " * 60).height > drawn("word").height + 60


def test_wide_pictures_keep_their_shape():
    fitted = sheet.fit(Image.new("RGB", (200, 100), "red"), 50)
    assert fitted.size == (50, 50)
    assert fitted.getpixel((25, 5)) == (255, 255, 255) and fitted.getpixel((25, 25)) == (255, 0, 0)


def test_labels_fit_their_place():
    face = sheet.font(16)
    assert all(
        face.getlength(line) <= 120 for line in sheet.wrap("hamburger, 3d style, on a yellow background", face, 120)
    )
    assert face.getlength(sheet.shorten("a very long heading indeed", face, 80)) <= 80
    assert sheet.shorten("short", face, 80) == "short"


def test_gaps_in_the_table_are_refused():
    with pytest.raises(ValueError, match="2 rows of 1 pictures"):
        sheet.contact_sheet([[Image.new("RGB", (1, 1))]], ["a", "b"], [sheet.Heading("x")])
