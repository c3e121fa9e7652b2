"""The real pictures: 200 concepts in two styles, their captions and their augmentation.

Every picture is a pure function of (seed, index): the same call gives the same pictures on every machine.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from . import fetch

HERE = Path(__file__).resolve().parent
SIZE = 96  # pixels, the base model's native side
STYLES = ("3d", "flat")
FONT_SIZE = 109  # the only size of the font's bitmaps: 136 x 128 pixels
WHITE = (255, 255, 255)
COLOURS = {  # read off the pictures of the shipped weights (median of the corners)
    "red": (228, 62, 60),
    "green": (76, 170, 78),
    "blue": (60, 110, 223),
    "yellow": (252, 208, 58),
    "purple": (138, 74, 192),
    "orange": (238, 140, 48),
    "pink": (246, 146, 187),
    "black": (28, 28, 28),
    "gray": (150, 150, 150),
}
GROUPS = {
    "Objects": "object",
    "Activities": "object",
    "Travel & Places": "place",
    "Smileys & Emotion": "face",
    "Animals & Nature": "animal",
    "Food & Drink": "food",
}  # of unicode-emoji-json: the class of a concept outside concepts.txt
WHITE_SHARE, CLASS_SHARE, EMPTY_SHARE = 0.45, 0.12, 0.10  # of the pictures; of the captions
ZOOM, TURN = (0.72, 0.98), 10.0  # long side as a share of the frame; largest rotation in degrees


@dataclass(frozen=True)
class Subject:
    """One thing to draw: a concept of a class in a style, on white or on a named colour."""

    name: str
    kind: str
    style: str
    colour: str | None = None

    @property
    def caption(self) -> str:
        """The full caption, e.g. "fox, 3d style, on a red background"."""
        return caption(self.name, self.style, self.colour)


def caption(name: str, style: str, colour: str | None = None) -> str:
    """Join a name or class, a style and a background colour into a training caption."""
    ground = "" if colour is None else f", on a {colour} background"  # "a orange" too: as trained
    return f"{name}, {style} style{ground}"


@lru_cache
def concepts() -> dict[str, str]:
    """Return {concept name: class}, 200 of them, in the order of concepts.txt."""
    lines = (HERE / "concepts.txt").read_text(encoding="utf-8").splitlines()
    classes = (line.split(": ", 1) for line in lines if line)
    return {name: kind for kind, names in classes for name in names.split(", ")}


@lru_cache
def held_out() -> frozenset[tuple[str, str]]:
    """Return the 38 (name, style) combinations the base was never trained on."""
    lines = (HERE / "held-out.txt").read_text(encoding="utf-8").splitlines()
    return frozenset((name, rest.removesuffix(" style")) for name, rest in (x.rsplit(", ", 1) for x in lines if x))


def combinations(trained: bool = True) -> list[tuple[str, str]]:
    """Return the trained (362) or the held-out (38) combinations of name and style."""
    every = [(name, style) for name in concepts() for style in STYLES]
    return [pair for pair in every if (pair in held_out()) != trained]


def plan(n: int, seed: int, *, trained: bool = True) -> list[Subject]:
    """Draw n subjects: every combination equally often, white 45 % of the time, else one of nine colours.

    A shorter plan is the beginning of a longer one.
    """
    order, white, colour = (np.random.default_rng([seed, 0, stream]) for stream in range(3))
    pairs = combinations(trained)
    indices = [i for _ in range(-(-n // len(pairs))) for i in order.permutation(len(pairs))][:n]
    subjects = []
    for name, style in (pairs[i] for i in indices):
        ground = list(COLOURS)[int(colour.random() * len(COLOURS))]
        subjects.append(Subject(name, concepts()[name], style, None if white.random() < WHITE_SHARE else ground))
    return subjects


def training_caption(subject: Subject, rng: np.random.Generator) -> str:
    """Return the caption as training sees it: empty 10 % of the time, the class for the name 12 % of the time."""
    if rng.random() < EMPTY_SHARE:
        return ""
    name = subject.kind if rng.random() < CLASS_SHARE else subject.name
    return caption(name, subject.style, subject.colour)


@lru_cache
def emoji(cache: Path = fetch.CACHE) -> dict[str, tuple[str, str]]:
    """Return {Unicode short name in lower case: (character without fe0f, group)}."""
    names = fetch.npm_package(fetch.NPM_PACKAGES["names"], cache / "names") / "data-by-emoji.json"
    entries = json.loads(names.read_text(encoding="utf-8"))
    return {e["name"].lower(): (c.replace("\ufe0f", ""), e["group"]) for c, e in reversed(entries.items())}


def load_pictures(
    cache: Path = fetch.CACHE, font: Path | None = None, names: Iterable[str] | None = None
) -> dict[tuple[str, str], Image.Image]:
    """Return {(name, style): RGBA picture cut to its visible part} for the 200 concepts, fetched the first time."""
    files, noto = _files(cache), ImageFont.truetype(str(fetch.emoji_font(cache, font)), FONT_SIZE)
    pictures = {}
    for name in names or concepts():
        character, _ = emoji(cache)[name.lower()]
        pictures[name, "3d"] = cut(Image.open(files[_code(character)]).convert("RGBA"))
        pictures[name, "flat"] = cut(_glyph(character, noto))
    return pictures


def wide_concepts(cache: Path = fetch.CACHE) -> dict[str, str]:
    """Return {name: class} of the 1,015 concepts that are things: no people, flags or symbols."""
    files, ours = _files(cache), {name.lower(): (name, kind) for name, kind in concepts().items()}
    return dict(
        ours.get(name, (name, GROUPS[group]))
        for name, (character, group) in sorted(emoji(cache).items())
        if group in GROUPS and _code(character) in files
    )


def _files(cache: Path) -> dict[str, Path]:
    assets = fetch.npm_package(fetch.NPM_PACKAGES["pictures"], cache / "pictures") / "assets"
    return {path.stem.replace("-fe0f", ""): path for path in sorted(assets.glob("*.webp"))}


def _code(character: str) -> str:
    return "-".join(f"{ord(c):04x}" for c in character)


def _glyph(character: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    canvas = Image.new("RGBA", (160, 160), (0, 0, 0, 0))
    ImageDraw.Draw(canvas).text((8, 8), character, font=font, embedded_color=True)
    return canvas


def cut(picture: Image.Image) -> Image.Image:
    """Crop an RGBA picture to the box of its visible pixels."""
    box = picture.getchannel("A").getbbox()
    if box is None:
        raise ValueError("A picture without a visible pixel: another font or picture package than named here.")
    return picture.crop(box)


def place(picture: Image.Image, rng: np.random.Generator, size: int = SIZE) -> Image.Image:
    """Mirror, turn, scale and shift a cut RGBA picture within a transparent frame of size x size."""
    if rng.random() < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    picture = cut(picture.rotate(rng.uniform(-TURN, TURN), Image.Resampling.BICUBIC, expand=True))
    scale = rng.uniform(*ZOOM) * size / max(picture.size)
    w, h = (max(1, round(side * scale)) for side in picture.size)
    corner = (int(rng.integers(0, size - w + 1)), int(rng.integers(0, size - h + 1)))
    frame = Image.new("RGBA", (size, size), (0, 0, 0, 0))
    frame.paste(picture.resize((w, h), Image.Resampling.LANCZOS), corner)
    return frame


def on_ground(placed: Image.Image, colour: str | None) -> np.ndarray:
    """Put a transparent frame on white (None) or a named colour. Returns uint8 [size, size, 3]."""
    ground = Image.new("RGBA", placed.size, (*(WHITE if colour is None else COLOURS[colour]), 255))
    return np.asarray(Image.alpha_composite(ground, placed).convert("RGB"))


def real_pictures(
    pictures: dict[tuple[str, str], Image.Image], subjects: list[Subject], seed: int, first: int = 0
) -> np.ndarray:
    """Render each subject, its augmentation a function of (seed, first + index). Returns uint8 [n, 96, 96, 3]."""
    rngs = (np.random.default_rng([seed, 1, first + i]) for i in range(len(subjects)))
    return np.stack([on_ground(place(pictures[s.name, s.style], rng), s.colour) for s, rng in zip(subjects, rngs)])
