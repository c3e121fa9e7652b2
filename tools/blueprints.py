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
from .ui_format import inputs_of, is_link

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "subgraphs"
ENTRY, EXIT = -10, -20  # the ids that the page gives to a subgraph's own inputs and outputs
ROW, SIDE, WIDTH = 26, 120, 400  # pixels: a row of a node, the width of what stands for ENTRY and EXIT, the node
LINK = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
Place = tuple[str, str]  # a node and the name of one of its inputs


@dataclass(frozen=True)
class Blueprint:
    """source: an API workflow, whose nodes that save or show are left out.

    outside: nodes left out too; a socket of the blueprint takes the place of each output of theirs.
    shown: {widget on the blueprint: the places that get its value}; each can be connected as well.
    given: {output of the blueprint: (node, its slot)}.
    """

    name: str
    source: str
    description: str
    outside: tuple[str, ...]
    shown: dict[str, tuple[Place, ...]]
    given: dict[str, tuple[str, int]]

    @property
    def file(self) -> Path:
        return FOLDER / f"{self.name}.json"

    def id_of(self, *part: str) -> str:
        """The blueprint's own id, or that of one of its inputs or outputs: the same each time it is written."""
        return str(uuid5(NAMESPACE_URL, "/".join(("fewstep", self.name, *part))))


BLUEPRINTS = (
    Blueprint(
        "FewStep text to image",
        "01_text_to_image_4_steps",
        "A checkpoint and a few-step LoRA, sampled as the file wants it.",
        outside=(),
        shown={
            "prompt": (("3", "text"),),
            "width": (("5", "width"),),
            "height": (("5", "height"),),
            "batch_size": (("5", "batch_size"),),
            "steps": (("2", "steps"),),
            "seed": (("6", "noise_seed"),),
            "ckpt_name": (("1", "ckpt_name"),),
            "lora_name": (("2", "lora_name"),),
            "strength": (("2", "strength"),),
        },
        given={"IMAGE": ("7", 0), "MODEL": ("2", 0)},
    ),
    Blueprint(
        "FewStep distil a LoRA",
        "21_distil_lcm_lora",
        "An LCM-LoRA of the model in front of it, trained and tried out in one go.",
        outside=("1",),
        shown={
            "training_prompts": (("2", "text"),),
            "prompt_file": (("2", "file"),),
            "images": (("3", "count"),),
            "width": (("3", "width"), ("8", "width")),
            "height": (("3", "height"), ("8", "height")),
            "guidance": (("4", "guidance_min"), ("4", "guidance_max"), ("3", "teacher_cfg")),
            "run_name": (("5", "run_name"),),
            "training_steps": (("5", "steps"),),
            "batch_size": (("5", "batch_size"),),
            "learning_rate": (("5", "learning_rate"),),
            "prompt": (("6", "text"),),
            "steps": (("9", "steps"),),
            "seed": (("9", "seed"),),
        },
        given={"MODEL": ("5", 0), "IMAGE": ("10", 0), "lora_name": ("5", 1), "loss_image": ("5", 2)},
    ),
)


def read(blueprint: Blueprint) -> dict:
    return json.loads((ROOT / "workflows" / "api" / f"{blueprint.source}.json").read_text(encoding="utf-8"))


def split(blueprint: Blueprint) -> tuple[dict, dict[tuple[str, int], list[Place]]]:
    """(the nodes inside, with nothing from outside, {output of a node outside: the places that it fed})."""
    workflow = read(blueprint)
    kept = {key for key, node in workflow.items() if node["class_type"] not in layout.ENDS} - set(blueprint.outside)
    inner, entering = {}, {}
    for key in sorted(kept, key=int):
        inputs = workflow[key]["inputs"]
        foreign = {name: tuple(v) for name, v in inputs.items() if is_link(v) and v[0] not in kept}
        for name, source in foreign.items():
            entering.setdefault(source, []).append((key, name))
        inner[key] = workflow[key] | {"inputs": {name: v for name, v in inputs.items() if name not in foreign}}
    return inner, entering


def made(blueprint: Blueprint, object_info: dict) -> dict:
    """The blueprint's file: one node, and its definition. A seed draws another picture each time, as core's do."""
    workflow = read(blueprint)
    inner, entering = split(blueprint)
    graph = ui_format.to_ui(inner, object_info, control="randomize")
    inputs = []
    for (key, slot), places in sorted(entering.items()):
        name = object_info[workflow[key]["class_type"]]["output_name"][slot].lower()
        inputs.append(add_input(blueprint, graph, len(inputs), name, sorted(places), object_info))
    for name, places in blueprint.shown.items():
        inputs.append(add_input(blueprint, graph, len(inputs), name, places, object_info))
    outputs = [add_output(blueprint, graph, place, name) for place, name in enumerate(blueprint.given)]
    return {
        "revision": 0,
        "last_node_id": graph["last_node_id"] + 1,
        "last_link_id": 0,
        "nodes": [instance(blueprint, graph, inputs, outputs, object_info)],
        "links": [],
        "version": 0.4,
        "definitions": {"subgraphs": [definition(blueprint, graph, inputs, outputs)]},
        "extra": {},
    }


def node_of(graph: dict, key: str) -> dict:
    (found,) = (node for node in graph["nodes"] if node["id"] == int(key))
    return found


def socket_of(node: dict, name: str, object_info: dict) -> tuple[int, dict]:
    """An input of a node inside, and its slot; a widget gets the socket that a link to it needs."""
    for slot, socket in enumerate(node["inputs"]):
        if socket["name"] == name:
            return slot, socket
    kind = ui_format.type_of(inputs_of(object_info[node["type"]])[name])
    node["inputs"].append({"name": name, "type": kind, "link": None, "widget": {"name": name}})
    return len(node["inputs"]) - 1, node["inputs"][-1]


def add_input(blueprint: Blueprint, graph: dict, place: int, name: str, places: list, object_info: dict) -> dict:
    """Lead one input of the blueprint to all its places; the input as the subgraph lists it."""
    links = []
    for key, inside in places:
        slot, socket = socket_of(node_of(graph, key), inside, object_info)
        socket["link"] = len(graph["links"]) + 1
        graph["links"].append([socket["link"], ENTRY, place, int(key), slot, socket["type"]])
        links.append(socket["link"])
    return {"id": blueprint.id_of("in", name), "name": name, "type": socket["type"], "linkIds": links}


def add_output(blueprint: Blueprint, graph: dict, place: int, name: str) -> dict:
    """Lead an inner node's output out of the graph; the output as the subgraph lists it."""
    key, slot = blueprint.given[name]
    out, link = node_of(graph, key)["outputs"][slot], len(graph["links"]) + 1
    graph["links"].append([link, int(key), slot, EXIT, place, out["type"]])
    out["links"].append(link)
    return {"id": blueprint.id_of("out", name), "name": name, "type": out["type"], "linkIds": [link]}


def instance(blueprint: Blueprint, graph: dict, inputs: list[dict], outputs: list[dict], object_info: dict) -> dict:
    """The one node that the page adds. proxyWidgets say to pages of before 2026 what stands on it."""
    specs = [inputs_of(object_info[node_of(graph, key)["type"]])[name] for (key, name), *_ in blueprint.shown.values()]
    fields = sum(bool(ui_format.options_of(spec).get("multiline")) for spec in specs)
    rows = max(len(inputs) - len(specs), len(outputs)) + len(specs) + (ui_format.ROWS_OF_TEXT - 1) * fields
    widgets = {name: {"widget": {"name": name}} for name in blueprint.shown}
    return {
        "id": graph["last_node_id"] + 1,
        "type": blueprint.id_of(),
        "pos": [0, 0],
        "size": [WIDTH, 40 + ROW * rows],
        "flags": {},
        "order": 0,
        "mode": 0,
        "inputs": [
            {"name": one["name"], "type": one["type"], "link": None, **widgets.get(one["name"], {})} for one in inputs
        ],
        "outputs": [{"name": one["name"], "type": one["type"], "links": None} for one in outputs],
        "title": blueprint.name,
        "properties": {"proxyWidgets": [list(first) for first, *_ in blueprint.shown.values()]},
        "widgets_values": [],
    }


def definition(blueprint: Blueprint, graph: dict, inputs: list[dict], outputs: list[dict]) -> dict:
    """The graph inside, with links by name as subgraphs have them."""
    right = max(node["pos"][0] + node["size"][0] for node in graph["nodes"]) + 2 * layout.GAP
    counts = {"lastNodeId": graph["last_node_id"], "lastLinkId": len(graph["links"])}
    return {
        "id": blueprint.id_of(),
        "version": 1,
        "state": {"lastGroupId": len(graph["groups"]), **counts, "lastRerouteId": 0},
        "revision": 0,
        "config": {},
        "name": blueprint.name,
        "inputNode": {"id": ENTRY, "bounding": [-2 * SIDE, 0, SIDE, 40 + ROW * len(inputs)]},
        "outputNode": {"id": EXIT, "bounding": [right, 0, SIDE, 40 + ROW * len(outputs)]},
        "inputs": inputs,
        "outputs": outputs,
        "widgets": [],
        "nodes": graph["nodes"],
        "groups": graph["groups"],
        "links": [dict(zip(LINK, link)) for link in graph["links"]],
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
