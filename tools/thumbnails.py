"""The pictures that ComfyUI's Templates show of our workflows: `python run.py tool thumbnails`.

A workflow that only samples is run, and shows what it draws. One that trains, or whose weights nobody has here, shows
its graph.
"""

import json
import math
from pathlib import Path

from PIL import Image, ImageDraw, ImageOps

from ..launcher import server
from ..launcher.api import Client
from . import family_workflows
from .ui_format import twins

SIDE, MOST, QUALITY = 320, 4, 82  # pixels; pictures of a thumbnail
GROUND, NODE, HEAD, LINE = (24, 26, 30), (62, 66, 74), (98, 104, 116), (126, 150, 190)
FINE, HEADER, RIM = 3, 30, 24  # drawn so many times larger; pixels of the page: a node's title, around the graph


def of_pictures(pictures: list[Image.Image]) -> Image.Image:
    """The first pictures on a grid; a single wide sheet is shown whole."""
    across = math.ceil(math.sqrt(len(pictures[:MOST])))
    card, side = Image.new("RGB", (SIDE, SIDE), GROUND), SIDE // across
    for i, picture in enumerate(pictures[:MOST]):
        fitted = ImageOps.contain(picture.convert("RGB"), (side, side), Image.Resampling.LANCZOS)
        x, y = i % across * side, i // across * side
        card.paste(fitted, (x + (side - fitted.width) // 2, y + (side - fitted.height) // 2))
    return card


def of_graph(workflow: dict) -> Image.Image:
    """Groups, nodes and links of a workflow in the page's format, as they lie there."""
    nodes = {node["id"]: node for node in workflow["nodes"]}
    boxes = {key: (*node["pos"], *node["size"]) for key, node in nodes.items()}
    groups = [(*group["bounding"], group.get("color", "#444")) for group in workflow.get("groups", [])]
    every = [*((x, y - HEADER, w, h + HEADER) for x, y, w, h in boxes.values()), *(group[:4] for group in groups)]
    left, top = min(x for x, *_ in every) - RIM, min(y for _, y, *_ in every) - RIM
    right, bottom = max(x + w for x, _, w, _ in every) + RIM, max(y + h for _, y, _, h in every) + RIM
    side = SIDE * FINE
    scale = side / max(right - left, bottom - top)
    x0, y0 = (side - (right - left) * scale) / 2, (side - (bottom - top) * scale) / 2

    def at(x: float, y: float) -> tuple[float, float]:
        return x0 + (x - left) * scale, y0 + (y - top) * scale

    card = Image.new("RGB", (side, side), GROUND)
    draw = ImageDraw.Draw(card)
    for x, y, w, h, colour in groups:
        tint = Image.new("RGB", (1, 1), colour).getpixel((0, 0))
        mixed = tuple((3 * g + t) // 4 for g, t in zip(GROUND, tint))
        draw.rounded_rectangle((*at(x, y), *at(x + w, y + h)), 10 * scale, fill=mixed, outline=tint, width=FINE)
    for _, source, _, target, _, _ in workflow["links"]:
        (x, y, w, _), (u, v, _, _) = boxes[source], boxes[target]
        draw.line((*at(x + w, y + 20), *at(u, v + 20)), fill=LINE, width=FINE)
    for x, y, w, h in boxes.values():
        draw.rounded_rectangle((*at(x, y - HEADER), *at(x + w, y + h)), 8 * scale, fill=NODE)
        draw.rounded_rectangle((*at(x, y - HEADER), *at(x + w, y)), 8 * scale, fill=HEAD)
    return card.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def trains(workflow: dict) -> bool:
    return any(node["class_type"] == "FewStepDistill" for node in workflow.values())


def thumbnail(file: Path, client: Client) -> Image.Image:
    api = twins()[file]
    workflow = None if api.parent == family_workflows.FOLDER else json.loads(api.read_text(encoding="utf-8"))
    if workflow and not trains(workflow):
        pictures = client.pictures(client.submit(workflow, timeout=600))
        if pictures:
            return of_pictures(pictures)
    return of_graph(json.loads(file.read_text(encoding="utf-8")))


def main() -> None:
    with server.host() as host:
        client = host.client()
        for file in twins():
            out, part = file.with_suffix(".jpg"), file.with_suffix(".part.jpg")
            thumbnail(file, client).save(part, quality=QUALITY, optimize=True)
            part.replace(out)
            print(f"{out.name}: {out.stat().st_size / 1000:.0f} kB", flush=True)


if __name__ == "__main__":
    main()
