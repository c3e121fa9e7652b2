"""A labelled sheet of 64 prompts: 32 combinations of concept and style that were trained, 32 that were not."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ...benchmarks.quality import data
from ...benchmarks.quality.data import SIZE, Subject
from ...benchmarks.quality.sample import Drawer, Row

FILE = Path(__file__).resolve().parent / "grid.png"
ROW = Row("dpmpp_2m", 25, 2.5, "karras")
EACH, COLUMNS, SEED = 32, 16, 11
GAP, LABEL, TITLE = 6, 30, 22  # pixels
TITLES = ("Combinations of concept and style the model was trained on", "Combinations it was never trained on")


def label(subject: Subject) -> str:
    """Return a caption in two short lines."""
    ground = "" if subject.colour is None else f", {subject.colour}"
    name = subject.name if len(subject.name) < 18 else subject.name[:16] + "..."
    return f"{name}\n{subject.style}{ground}"


def sheet(parts: list[tuple[str, list[Subject], np.ndarray]]) -> Image.Image:
    """Lay out (title, subjects, pictures uint8 [n, h, w, 3]) one below the other."""
    rows = -(-EACH // COLUMNS)
    cell, line = SIZE + GAP, SIZE + LABEL
    height = len(parts) * (TITLE + rows * line) + GAP
    canvas = Image.new("RGB", (COLUMNS * cell + GAP, height), "white")
    draw, font, small = ImageDraw.Draw(canvas), ImageFont.load_default(14), ImageFont.load_default(10)
    for k, (title, subjects, pictures) in enumerate(parts):
        top = k * (TITLE + rows * line)
        draw.text((GAP, top + 3), title, fill="black", font=font)
        for i, (subject, picture) in enumerate(zip(subjects, pictures)):
            x, y = GAP + i % COLUMNS * cell, top + TITLE + i // COLUMNS * line
            canvas.paste(Image.fromarray(picture), (x, y))
            draw.multiline_text((x, y + SIZE + 1), label(subject), fill="black", font=small, spacing=1)
    return canvas


def save(checkpoint: Path, file: Path = FILE) -> Path:
    """Draw the 64 prompts with the host (dpmpp_2m karras, 25 steps, guidance 2.5) and save the sheet."""
    drawer, parts = Drawer(checkpoint), []
    for title, trained in zip(TITLES, (True, False)):
        subjects = data.plan(EACH, SEED, trained=trained)
        drawn = drawer.draw(ROW, [s.caption for s in subjects], SEED, first=0 if trained else EACH)
        parts.append((title, subjects, drawn.pictures))
    sheet(parts).save(file, optimize=True)
    return file
