"""Draw a labelled contact sheet: a row a prompt, a column a way of sampling."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

PAPER, INK, FAINT, OURS = "#ffffff", "#1c1c1e", "#6b6b70", "#0a7a4b"
GAP = 10
HEAD = 86  # height of the column headings
LABELS = 170  # width of the row labels
CELL = 192


@dataclass(frozen=True)
class Heading:
    """A column's title, up to two lines below it, and whether it is a result of this pack."""

    title: str
    detail: str = ""
    ours: bool = False


def contact_sheet(
    pictures: Sequence[Sequence[Image.Image]],
    rows: Sequence[str],
    columns: Sequence[Heading],
    title: str = "",
    note: str = "",
    cell: int = CELL,
) -> Image.Image:
    """Lay out pictures[row][column] with labels."""
    check_shape(pictures, rows, columns)
    width = LABELS + len(columns) * (cell + GAP) + GAP
    notes = wrap(note, font(15), width - 4 * GAP) if note else []
    top, bottom = (52 if title else GAP) + HEAD, GAP + 22 * len(notes)
    sheet = Image.new("RGB", (width, top + len(rows) * (cell + GAP) + bottom), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((2 * GAP, 16), title, INK, font(26))
    draw.text((2 * GAP, sheet.height - bottom), "\n".join(notes), FAINT, font(15), spacing=5)
    for number, heading in enumerate(columns):
        draw_heading(draw, heading, LABELS + number * (cell + GAP), top, cell)
    for line, (label, strip) in enumerate(zip(rows, pictures)):
        y = top + line * (cell + GAP)
        draw_label(draw, label, y, cell)
        for number, picture in enumerate(strip):
            sheet.paste(fit(picture, cell), (LABELS + number * (cell + GAP), y))
    return sheet


def check_shape(pictures: Sequence[Sequence], rows: Sequence[str], columns: Sequence[Heading]) -> None:
    """Refuse pictures that do not fill the table."""
    lengths = [len(strip) for strip in pictures]
    if lengths != [len(columns)] * len(rows):
        raise ValueError(f"Sheet: expected {len(rows)} rows of {len(columns)} pictures, got rows of {lengths}.")


def draw_heading(draw: ImageDraw.ImageDraw, heading: Heading, x: int, bottom: int, cell: int) -> None:
    """Write a column's title and detail above a coloured rule."""
    colour = OURS if heading.ours else INK
    draw.text((x, bottom - HEAD + 6), shorten(heading.title, font(19), cell), colour, font(19))
    for number, line in enumerate(heading.detail.splitlines()[:2]):
        draw.text((x, bottom - HEAD + 32 + 18 * number), shorten(line, font(14), cell), FAINT, font(14))
    draw.rectangle((x, bottom - 12, x + cell - 1, bottom - 9), colour if heading.ours else "#c9c9ce")


def draw_label(draw: ImageDraw.ImageDraw, label: str, y: int, cell: int) -> None:
    """Write a row's prompt, wrapped and centred in height."""
    face = font(16)
    lines = wrap(label, face, LABELS - 3 * GAP)[: cell // 22]
    y += (cell - 22 * len(lines)) // 2
    for number, line in enumerate(lines):
        draw.text((2 * GAP, y + 22 * number), line, INK, face)


def fit(picture: Image.Image, cell: int) -> Image.Image:
    """Scale to the cell, keeping the shape: Lanczos, which suits both directions."""
    scale = cell / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    scaled = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    if size == (cell, cell):
        return scaled
    framed = Image.new("RGB", (cell, cell), PAPER)
    framed.paste(scaled, ((cell - size[0]) // 2, (cell - size[1]) // 2))
    return framed


def wrap(text: str, face: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """Break a text into lines of at most `width` pixels, at spaces."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and face.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def shorten(text: str, face: ImageFont.FreeTypeFont, width: int) -> str:
    """Cut a line that is too wide, with an ellipsis."""
    if face.getlength(text) <= width:
        return text
    while text and face.getlength(f"{text}...") > width:
        text = text[:-1]
    return f"{text.rstrip()}..."


def font(size: int) -> ImageFont.FreeTypeFont:
    """Return Pillow's built-in face: no font file is needed."""
    return ImageFont.load_default(size)
