"""Draw docs/icon.png and docs/banner.png for the registry: four steps up, from noise to a clean disc.

`python run.py tool artwork`. The noise is seeded; the same drawing comes out every time.
"""

import random
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAPER, INK, CLEAN = (16, 22, 31), (242, 244, 247), (63, 201, 142)
GREYS = [(70, 78, 90), (120, 130, 145), (180, 188, 200)]
STEPS = 4
FINE = 4  # drawn so many times larger, then scaled down


def tile(share: float, cells: int, seed: int) -> Image.Image:
    """A disc on the ground, on a grid of cells; `share` of the cells are noise."""
    source, image = random.Random(seed), Image.new("RGB", (cells, cells), PAPER)
    for y in range(cells):
        for x in range(cells):
            inside = (x - (cells - 1) / 2) ** 2 + (y - (cells - 1) / 2) ** 2 < (0.42 * cells) ** 2
            noisy = source.random() < share
            image.putpixel((x, y), source.choice([*GREYS, CLEAN]) if noisy else CLEAN if inside else PAPER)
    return image


def steps(width: int, height: int) -> Image.Image:
    """The four tiles as a stair, each with less noise; the last one is round and whole."""
    side, sheet = min(width * 2 // 9, height * 2 // 5), Image.new("RGB", (width * FINE, height * FINE), PAPER)
    gap = (width - STEPS * side) // (STEPS + 1)
    rise = (height - side - 2 * gap) // (STEPS - 1)
    for k in range(STEPS):
        x, y = gap + k * (side + gap), height - gap - side - k * rise
        if k < STEPS - 1:
            picture = tile((0.9, 0.45, 0.15)[k], (6, 8, 10)[k], k).resize((side * FINE,) * 2, Image.Resampling.NEAREST)
            sheet.paste(picture, (x * FINE, y * FINE))
        else:
            corners = [x, y, x + side, y + side]
            ImageDraw.Draw(sheet).ellipse([corner * FINE for corner in corners], fill=CLEAN)
    return sheet.resize((width, height), Image.Resampling.LANCZOS)


def icon() -> Image.Image:
    return steps(400, 400)


def banner() -> Image.Image:
    """21:9, with the name beside the stair."""
    sheet = Image.new("RGB", (1260, 540), PAPER)
    sheet.paste(steps(520, 460), (700, 40))
    draw = ImageDraw.Draw(sheet)
    draw.text((80, 150), "FewStep", INK, ImageFont.load_default(120))
    draw.text((86, 310), "Images in 1 to 8 steps:", GREYS[2], ImageFont.load_default(36))
    draw.text((86, 358), "load them, distil them, merge them", GREYS[2], ImageFont.load_default(36))
    return sheet


def main() -> None:
    icon().save(DOCS / "icon.png", optimize=True)
    banner().save(DOCS / "banner.png", optimize=True)


if __name__ == "__main__":
    main()
