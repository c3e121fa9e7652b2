"""The previews of a run as files in its folder: every row of the student's, a strip per prompt over time, the curve.

previews/teacher.jpg and step-N.jpg have the prompts of prompts.txt side by side; strip-1.png is the first prompt's: the
teacher, then the student at up to COLUMNS steps, the first and the newest always among them.
"""

import re
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from ...training.state import RunFolder
from ...weights import io
from ..pictures import as_picture, as_tensor, sheet

ROW = re.compile(r"step-(\d{1,15})\.jpg")
PROMPTS = "prompts.txt"
COLUMNS, SIDE = 12, 256  # of a strip: its student's columns, the pixels of a cell's longer side


class Gallery:
    """The folder `previews` of a run, for the prompts and the teacher's cells [h, w, 3] of them."""

    def __init__(self, folder: RunFolder, prompts: list[str], teacher: list[Tensor]):
        self.folder, self.prompts, self.teacher = folder, prompts, teacher
        self.place = folder.path / "previews"

    def begin(self, step: int) -> None:
        """The run goes on from this step: set aside what was drawn after it, of other prompts, or cannot be read."""
        known, text = self.place / PROMPTS, "\n".join(self.prompts) + "\n"
        same = known.is_file() and known.read_text(encoding="utf-8", errors="replace") == text
        for number in self.steps():
            if number > step or not same or not readable(self.row(number)):
                self.folder.set_aside(self.row(number))
        if self.teacher:
            io.write_text(known, text)
            write(self.place / "teacher.jpg", as_picture(torch.cat(self.teacher, dim=1)))

    def add(self, step: int, cells: list[Tensor], curve: Image.Image) -> None:
        """A step's pictures, the strips with it, and the curve as it is."""
        write(self.place / "curve.png", curve)
        if not cells:
            return
        write(self.row(step), as_picture(torch.cat(cells, dim=1)))
        shown = spread(self.steps(), COLUMNS)
        rows = [split(Image.open(self.row(number)), len(cells)) for number in shown[:-1]]
        for number, (prompt, teacher, newest) in enumerate(zip(self.prompts, self.teacher, cells)):
            columns = [as_picture(teacher), *(row[number] for row in rows), as_picture(newest)]
            heads = ["teacher", *(f"step {one}" for one in shown)]
            strip = sheet([prompt], [as_tensor(small(column)) for column in columns], heads)
            write(self.place / f"strip-{number + 1}.png", strip)

    def row(self, step: int) -> Path:
        return self.place / f"step-{step}.jpg"

    def steps(self) -> list[int]:
        """The steps that pictures are kept of."""
        return sorted(int(found[1]) for path in self.place.glob("step-*.jpg") if (found := ROW.fullmatch(path.name)))


def spread(steps: list[int], most: int) -> list[int]:
    """At most so many of them, evenly, the first and the last among them."""
    if len(steps) <= most:
        return steps
    return [steps[round(index * (len(steps) - 1) / (most - 1))] for index in range(most)]


def readable(file: Path) -> bool:
    """Whether a picture is whole: a strip of broken ones would end the run."""
    try:
        with Image.open(file) as picture:
            picture.load()
        return True
    except OSError:
        return False


def split(row: Image.Image, count: int) -> list[Image.Image]:
    width = row.width // count
    return [row.crop((index * width, 0, (index + 1) * width, row.height)) for index in range(count)]


def small(picture: Image.Image) -> Image.Image:
    copy = picture.copy()
    copy.thumbnail((SIDE, SIDE))
    return copy


def write(path: Path, picture: Image.Image) -> None:
    with io.replacing(path) as temporary:
        how = {"format": "JPEG", "quality": 92, "subsampling": 0} if path.suffix == ".jpg" else {"format": "PNG"}
        picture.save(temporary, **how)
