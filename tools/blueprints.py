"""Turn workflows of the API format into subgraph blueprints: one node that holds a whole graph, in the page's search.

ComfyUI 0.33 lists `subgraphs/*.json` of every pack; earlier ones do not look. Run it after changing one of the
workflows (`python run.py tool blueprints`); a test checks that the files agree with them.
"""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from ..launcher import server
from . import layout, ui_format

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "subgraphs"
ENTRY, EXIT = -10, -20  # the ids that the page gives to a subgraph's own inputs and outputs
ROW = 26


@dataclass(frozen=True)
class Blueprint:
    """source: an API workflow, whose nodes that save or show are left out: what fed them comes out of the blueprint.
    shown: (node, widget) that stand on it."""

    name: str
    source: str
    description: str
    shown: tuple[tuple[str, str], ...]

    @property
    def file(self) -> Path:
        return FOLDER / f"{self.name}.json"

    @property
    def id(self) -> str:
        return str(uuid5(NAMESPACE_URL, f"fewstep/{self.name}"))


BLUEPRINTS = (
    Blueprint(
        "FewStep text to image",
        "01_text_to_image_4_steps",
        "A checkpoint and a few-step LoRA, sampled as the file wants it.",
        (
            ("3", "text"),
            ("1", "ckpt_name"),
            ("2", "lora_name"),
            ("2", "steps"),
            ("6", "noise_seed"),
            ("5", "width"),
            ("5", "height"),
            ("5", "batch_size"),
        ),
    ),
    Blueprint(
        "FewStep distil a LoRA",
        "21_distil_lcm_lora",
        "An LCM-LoRA of a checkpoint, trained and tried out in one go.",
        (
            ("2", "text"),
            ("2", "file"),
            ("1", "ckpt_name"),
            ("5", "run_name"),
            ("5", "steps"),
            ("5", "batch_size"),
            ("6", "text"),
        ),
    ),
)


def read(blueprint: Blueprint) -> dict:
    return json.loads((ROOT / "workflows" / "api" / f"{blueprint.source}.json").read_text(encoding="utf-8"))


def made(blueprint: Blueprint, object_info: dict) -> dict:
    """The blueprint's file: one node, and its definition."""
    workflow = read(blueprint)
    ends = [key for key, node in workflow.items() if node["class_type"] in layout.ENDS]
    inner = {key: node for key, node in workflow.items() if key not in ends}
    leaving = list(dict.fromkeys(tuple(workflow[key]["inputs"]["images"]) for key in ends))
    graph = ui_format.to_ui(inner, object_info)
    outputs = [add_output(blueprint, graph, int(key), slot) for key, slot in leaving]
    return {
        "revision": 0,
        "last_node_id": graph["last_node_id"] + 1,
        "last_link_id": 0,
        "nodes": [instance(blueprint, graph["last_node_id"] + 1, outputs)],
        "links": [],
        "version": 0.4,
        "definitions": {"subgraphs": [definition(blueprint, graph, outputs)]},
        "extra": {},
    }


def add_output(blueprint: Blueprint, graph: dict, node: int, slot: int) -> dict:
    """Lead an inner node's output out of the graph; the output as the subgraph lists it."""
    (source,) = (one for one in graph["nodes"] if one["id"] == node)
    out, link = source["outputs"][slot], len(graph["links"]) + 1
    place = sum(end == EXIT for _, _, _, end, _, _ in graph["links"])
    graph["links"].append([link, node, slot, EXIT, place, out["type"]])
    out["links"].append(link)
    number = str(uuid5(NAMESPACE_URL, f"fewstep/{blueprint.name}/{node}/{slot}"))
    return {"id": number, "name": out["name"], "type": out["type"], "linkIds": [link]}


def instance(blueprint: Blueprint, key: int, outputs: list[dict]) -> dict:
    """The one node that the page adds."""
    return {
        "id": key,
        "type": blueprint.id,
        "pos": [0, 0],
        "size": [layout.WIDTH, 40 + ROW * (len(outputs) + len(blueprint.shown) + ui_format.ROWS_OF_TEXT)],
        "flags": {},
        "order": 0,
        "mode": 0,
        "inputs": [],
        "outputs": [{"name": one["name"], "type": one["type"], "links": None} for one in outputs],
        "title": blueprint.name,
        "properties": {"proxyWidgets": [list(one) for one in blueprint.shown]},
        "widgets_values": [],
    }


def definition(blueprint: Blueprint, graph: dict, outputs: list[dict]) -> dict:
    """The graph inside, with links by name as subgraphs have them."""
    names = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    right = max(node["pos"][0] + node["size"][0] for node in graph["nodes"]) + 2 * layout.GAP
    counts = {"lastNodeId": graph["last_node_id"], "lastLinkId": len(graph["links"])}
    return {
        "id": blueprint.id,
        "version": 1,
        "state": {"lastGroupId": len(graph["groups"]), **counts, "lastRerouteId": 0},
        "revision": 0,
        "config": {},
        "name": blueprint.name,
        "inputNode": {"id": ENTRY, "bounding": [-240, 0, 120, 60]},
        "outputNode": {"id": EXIT, "bounding": [right, 0, 120, 40 + ROW * len(outputs)]},
        "inputs": [],
        "outputs": outputs,
        "widgets": [],
        "nodes": graph["nodes"],
        "groups": graph["groups"],
        "links": [dict(zip(names, link)) for link in graph["links"]],
        "extra": {},
        "category": "FewStep",
        "description": blueprint.description,
    }


def main() -> None:
    """Write every blueprint."""
    with server.host(workdir=tempfile.mkdtemp(prefix="fewstep-blueprints-")) as host:
        object_info = host.client().object_info()
    FOLDER.mkdir(exist_ok=True)
    for blueprint in BLUEPRINTS:
        text = json.dumps(made(blueprint, object_info), indent=1) + "\n"
        blueprint.file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
