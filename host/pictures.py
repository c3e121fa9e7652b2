"""Pictures side by side with words around them: one maker for every sheet of the pack."""

import io
import textwrap
from collections.abc import Sequence

import numpy
import torch
from PIL import Image, ImageDraw
from torch import Tensor

MARGIN, LINE, CHARACTER, GAP = 110, 14, 6.5, 4  # pixels: labels' column, a line of text, a letter, around text


def sheet(
    labels: Sequence[str], cells: Sequence[Tensor], heads: Sequence[str] = ("",), feet: Sequence[str] = ()
) -> Image.Image:
    """A labelled row of cells per label, a cell [b, h, w, 3] in 0..1 for each head; cells row by row.

    feet: what is said under each cell. Text is broken at the cell's width; "\\n" breaks it too.
    """
    count, height, width = cells[0].shape[:3]
    wide = count * width
    heads = [broken(head, wide) for head in heads]
    feet = [broken(foot, wide) for foot in feet]
    top, foot = tall(heads), tall(feet)
    page = Image.new("RGB", (MARGIN + len(heads) * wide, top + len(labels) * (height + foot)), "white")
    pen = ImageDraw.Draw(page)
    for column, head in enumerate(heads):
        write(pen, (MARGIN + column * wide + GAP, GAP), head)
    for row, label in enumerate(labels):
        lines = broken(label, MARGIN)
        write(pen, (2 * GAP, top + row * (height + foot) + (height - LINE * len(lines)) // 2), lines)
    for number, images in enumerate(cells):
        row, column = divmod(number, len(heads))
        left, above = MARGIN + column * wide, top + row * (height + foot)
        for index, pixels in enumerate(images):
            page.paste(as_picture(pixels), (left + index * width, above))
        if feet:
            write(pen, (left + GAP, above + height + GAP // 2), feet[number])
    return page


def broken(text: str, width: int) -> list[str]:
    """The lines of a text that is at most so many pixels wide."""
    letters = max(int((width - 2 * GAP) / CHARACTER), 6)
    return [line for part in text.splitlines() for line in textwrap.wrap(part, letters)]


def tall(texts: list[list[str]]) -> int:
    """Pixels that the longest of them needs; none where all are empty."""
    most = max((len(lines) for lines in texts), default=0)
    return most * LINE + 6 if most else 0


def write(pen: ImageDraw.ImageDraw, place: tuple[int, int], lines: list[str]) -> None:
    for number, line in enumerate(lines):  # Pillow's plain font knows no letters beyond Latin-1
        pen.text(
            (place[0], place[1] + number * LINE), line.encode("latin-1", "replace").decode("latin-1"), fill="black"
        )


def beside(*pictures: Image.Image) -> Image.Image:
    """From left to right, at the top."""
    whole = Image.new("RGB", (sum(one.width for one in pictures), max(one.height for one in pictures)), "white")
    left = 0
    for one in pictures:
        whole.paste(one, (left, 0))
        left += one.width
    return whole


def decoded(vae, latents: Tensor) -> Tensor:
    """Latents in the VAE's scale as images [b, h, w, 3] in 0..1, on the CPU; of videos [b, c, frames, h, w], the first
    frame."""
    images = vae.decode(latents)
    return (images[:, 0] if images.ndim == 5 else images).float().cpu().clamp(0, 1)


def of_figure(figure) -> Image.Image:
    """A figure of matplotlib, without its global state, which belongs to the main thread."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    return Image.open(buffer).convert("RGB")


def as_picture(pixels: Tensor) -> Image.Image:
    """[h, w, 3] in 0..1 as a picture."""
    return Image.fromarray((pixels * 255).round().byte().numpy())


def as_tensor(picture: Image.Image) -> Tensor:
    """A picture as the host's IMAGE, [1, h, w, 3] in 0..1."""
    return torch.from_numpy(numpy.asarray(picture.convert("RGB"), dtype=numpy.float32) / 255)[None]
