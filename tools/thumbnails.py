"""The pictures that ComfyUI's Templates show of our workflows: `python run.py tool thumbnails`.

A workflow that only samples is run, and shows what it draws. One that trains, or whose weights nobody has here, shows
its graph: the browser tests leave a picture of each in output/browser, so run them first.
"""

import json
import math
from pathlib import Path

from PIL import Image, ImageOps

from ..launcher import server
from ..launcher.api import Client

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS, SHOTS = ROOT / "workflows", ROOT / "output" / "browser"
SIDE, MOST, QUALITY = 320, 4, 82  # pixels; pictures of a thumbnail
GROUND = (24, 26, 30)


def of_pictures(pictures: list[Image.Image]) -> Image.Image:
    """The first pictures on a grid; a single wide sheet is shown whole."""
    across = math.ceil(math.sqrt(len(pictures[:MOST])))
    card, side = Image.new("RGB", (SIDE, SIDE), GROUND), SIDE // across
    for i, picture in enumerate(pictures[:MOST]):
        fitted = ImageOps.contain(picture.convert("RGB"), (side, side), Image.Resampling.LANCZOS)
        x, y = i % across * side, i // across * side
        card.paste(fitted, (x + (side - fitted.width) // 2, y + (side - fitted.height) // 2))
    return card


def of_graph(file: Path) -> Image.Image:
    """A picture of the page, its bars and rims cut off."""
    shot = Image.open(file).convert("RGB")
    inside = shot.crop((60, 110, shot.width - 60, shot.height - 20))
    return ImageOps.pad(inside, (SIDE, SIDE), Image.Resampling.LANCZOS, color=GROUND)


def trains(workflow: dict) -> bool:
    return any(node["class_type"] == "FewStepDistill" for node in workflow.values())


def thumbnail(name: str, client: Client) -> Image.Image:
    """Raises FileNotFoundError with what to do where there is no picture of the graph."""
    api = WORKFLOWS / "api" / f"{name}.json"
    workflow = json.loads(api.read_text(encoding="utf-8")) if api.is_file() else None
    if workflow and not trains(workflow):
        pictures = client.pictures(client.submit(workflow, timeout=600))
        if pictures:
            return of_pictures(pictures)
    shot = SHOTS / f"{name}.png"
    if not shot.is_file():
        raise FileNotFoundError(f"There is no {shot}. Run `python run.py test tests/browser` first.")
    return of_graph(shot)


def main() -> None:
    with server.host() as host:
        client = host.client()
        for file in sorted(WORKFLOWS.glob("*.json")):
            out, part = file.with_suffix(".jpg"), file.with_suffix(".part.jpg")
            thumbnail(file.stem, client).save(part, quality=QUALITY, optimize=True)
            part.replace(out)
            print(f"{out.name}: {out.stat().st_size / 1000:.0f} kB", flush=True)


if __name__ == "__main__":
    main()
