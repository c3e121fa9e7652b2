"""Turn a workflow of the API format into the format users open in the page (positions, sockets, positional widgets).

Run it after changing workflows/api (`python run.py tool ui_format`): it starts the host, asks it for its nodes, and
writes workflows/*.json. A test checks that both folders agree. A node's `_meta.note` becomes a Note above the graph,
its `_meta.app` names the widgets that the page's app mode shows; `layout.py` says where the nodes stand.
"""

import json
import tempfile
from pathlib import Path

from ..launcher import server
from . import family_workflows, layout
from .family_workflows import MODELS

ROOT = Path(__file__).resolve().parent.parent
STOCK_ONLY = {"base_text_to_image"}  # for the demo; users have the host's own template
FIRST_FAMILY = 41  # templates are numbered: 0x draw, 1x look closer, 2x train, 3x merge, from here published files
NEWER_NODES = ROOT / "tests" / "newer_nodes.json"  # nodes the embedded host lacks, as a newer one describes them
WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
HEIGHT_OF_ROW, ROWS_OF_TEXT, PICTURE = 26, 4, 300
NOTE_WIDTH, NOTE_LETTERS, NOTE_LINE, NOTE_FRAME = 1080, 130, 19, 60


def api_files() -> list[Path]:
    """Every workflow in the API format: the tiny base's, and those for published files."""
    return [*sorted((ROOT / "workflows" / "api").glob("*.json")), *sorted(family_workflows.FOLDER.glob("*.json"))]


def twin_of(file: Path) -> Path | None:
    """The page's file of an API workflow: its name, after its number where a row has none; None: no template."""
    if file.parent != family_workflows.FOLDER:
        return None if file.stem in STOCK_ONLY else ROOT / "workflows" / file.name
    if file.stem not in family_workflows.SHOWN:
        return None
    number = FIRST_FAMILY + family_workflows.SHOWN.index(file.stem)
    return ROOT / "workflows" / f"{number}_family_{file.name}"


def twins() -> dict[Path, Path]:
    """{the page's file: its API workflow} of every template, in the order of their numbers."""
    return dict(sorted((twin, file) for file in api_files() if (twin := twin_of(file))))


def nodes_for(file: Path, object_info: dict) -> dict:
    """object_info, completed from a newer host's where the workflow wants one and this host is too old for it."""
    if file.stem not in family_workflows.UPSTREAM or "FluxGuidance" in object_info:
        return object_info
    return {**object_info, **json.loads(NEWER_NODES.read_text(encoding="utf-8"))}


def inputs_of(info: dict) -> dict[str, list]:
    """{name: [type, options]} of a node, required ones first, in the node's own order."""
    return {**info["input"].get("required", {}), **info["input"].get("optional", {})}


def options_of(spec: list) -> dict:
    return spec[1] if len(spec) > 1 else {}


def choices_of(spec: list) -> list | None:
    """What a list widget offers; None for others. Newer nodes say "COMBO" and put the list into the options."""
    if isinstance(spec[0], list):
        return spec[0]
    return options_of(spec).get("options") if spec[0] == "COMBO" else None


def is_widget(spec: list) -> bool:
    """A value with a place in widgets_values. A forced input is one too: old pages make a widget of it and convert it,
    and newer ones drop the surplus value where the count says that it is there.
    """
    return isinstance(spec[0], list) or spec[0] in WIDGETS


def is_forced(spec: list) -> bool:
    return bool(options_of(spec).get("forceInput"))


def type_of(spec: list) -> str:
    """The type of its socket; a list is a COMBO."""
    return "COMBO" if choices_of(spec) is not None else spec[0]


def is_link(value) -> bool:
    return isinstance(value, list)


def depth(workflow: dict, key: str) -> int:
    """Columns from the left: one more than the deepest node that feeds this one."""
    feeding = [value[0] for value in workflow[key]["inputs"].values() if is_link(value)]
    return 1 + max((depth(workflow, source) for source in feeding), default=-1)


def widget_values(specs: dict, values: dict, control: str = "fixed") -> list:
    """Positional widget values; a linked or forced one keeps its default, a seed is followed by its control."""
    found = []
    for name, spec in specs.items():
        if not is_widget(spec):
            continue
        options, choices = options_of(spec), choices_of(spec)
        default = options.get("default", choices[0] if choices else "" if is_forced(spec) else None)
        value = values.get(name, default)
        found.append(default if is_link(value) else value)
        if options.get("control_after_generate") or name in ("seed", "noise_seed") and spec[0] == "INT":
            found.append(control)
    return found


def height_of(kind: str, specs: dict, sockets: int, widgets: int) -> int:
    """Pixels: sockets above widgets; a text field is higher than a line, and a shown picture needs its room."""
    fields = sum(bool(options_of(spec).get("multiline")) for spec in specs.values() if is_widget(spec))
    rows = HEIGHT_OF_ROW * (sockets + widgets + (ROWS_OF_TEXT - 1) * fields)
    return 40 + rows + (PICTURE if kind in layout.ENDS else 0)


def note_height(text: str) -> int:
    lines = sum(-(-max(len(line), 1) // NOTE_LETTERS) for line in text.split("\n"))
    return NOTE_FRAME + NOTE_LINE * lines


def note_node(key: int, text: str, top: int) -> dict:
    """The page's own Note, above everything."""
    return {
        "id": key,
        "type": "Note",
        "pos": [0, top],
        "size": [NOTE_WIDTH, note_height(text)],
        "flags": {},
        "order": 0,
        "mode": 0,
        "inputs": [],
        "outputs": [],
        "title": "What this shows",
        "properties": {"text": ""},
        "widgets_values": [text],
        "color": "#432",
        "bgcolor": "#653",
    }


def sockets_of(key: str, workflow: dict, object_info: dict, links: list[list]) -> list[dict]:
    """The sockets of a node; what enters them is appended to links."""
    node, sockets = workflow[key], []
    for name, spec in inputs_of(object_info[node["class_type"]]).items():
        value = node["inputs"].get(name)
        if is_widget(spec) and not is_link(value) and not is_forced(spec):
            continue
        kind = type_of(spec)
        socket = {"name": name, "type": kind, "link": None}
        if is_widget(spec):
            socket["widget"] = {"name": name}
        if is_link(value):
            source = object_info[workflow[value[0]]["class_type"]]
            socket["link"] = len(links) + 1
            socket["type"] = source["output"][value[1]] if kind == "COMBO" else kind
            links.append([len(links) + 1, int(value[0]), value[1], int(key), len(sockets), socket["type"]])
        sockets.append(socket)
    return sockets


def to_ui(workflow: dict, object_info: dict, control: str = "fixed") -> dict:
    """The whole conversion. object_info is the host's answer to /object_info, control what a seed does after a run."""
    nodes, links, titles = [], [], layout.titles(workflow)
    order = sorted(workflow, key=lambda key: depth(workflow, key))
    for place, key in enumerate(order):
        kind, inputs = workflow[key]["class_type"], workflow[key]["inputs"]
        info = object_info[kind]
        specs, sockets = inputs_of(info), sockets_of(key, workflow, object_info, links)
        widgets = widget_values(specs, inputs, control)
        height = height_of(kind, specs, max(len(sockets), len(info["output"])), len(widgets))
        outputs = [{"name": n, "type": t, "links": []} for n, t in zip(info["output_name"], info["output"])]
        properties = {"Node name for S&R": kind}
        models = [MODELS[value] for value in inputs.values() if not is_link(value) and value in MODELS]
        nodes.append(
            {
                "id": int(key),
                "type": kind,
                "pos": [0, 0],
                "size": [layout.WIDTH, height],
                "flags": {},
                "order": place,
                "mode": 0,
                "inputs": sockets,
                "outputs": outputs,
                **({"title": titles[key]} if key in titles else {}),
                "properties": properties | ({"models": models} if models else {}),
                "widgets_values": widgets,
            }
        )
    notes = [node["_meta"]["note"] for node in workflow.values() if "note" in node.get("_meta", {})]
    heights = {str(node["id"]): node["size"][1] for node in nodes}
    where, groups = layout.placed(workflow, order, heights)
    for node in nodes:
        node["pos"] = where[str(node["id"])]
    return assembled(nodes, links, notes) | {"groups": groups, "extra": app_of(workflow)}


def app_of(workflow: dict) -> dict:
    """What opens the graph as an app: the widgets in `_meta.app`, in the file's order, and its pictures; else {}."""
    named = {int(key): node.get("_meta", {}).get("app", []) for key, node in workflow.items()}
    inputs = [[key, widget] for key, widgets in named.items() for widget in widgets]
    outputs = [int(key) for key, node in workflow.items() if node["class_type"] in layout.ENDS]
    return {"linearMode": True, "linearData": {"inputs": inputs, "outputs": outputs}} if inputs else {}


def assembled(nodes: list[dict], links: list[list], notes: list[str]) -> dict:
    """The page's file: each output knows its links, and the notes stand above."""
    by_id = {node["id"]: node for node in nodes}
    for link in links:
        by_id[link[1]]["outputs"][link[2]]["links"].append(link[0])
    last, top, written = max(by_id), 0, []
    for index, text in enumerate(notes):
        top -= note_height(text) + layout.GAP
        written.append(note_node(last + 1 + index, text, top))
    return {
        "last_node_id": last + len(notes),
        "last_link_id": len(links),
        "nodes": [*nodes, *written],
        "links": links,
        "groups": [],
        "config": {},
        "extra": {},
        "version": 0.4,
    }


def main() -> None:
    """Write the twin of every API workflow that shows our nodes."""
    with server.host(workdir=tempfile.mkdtemp(prefix="fewstep-ui-")) as host:
        object_info = host.client().object_info()
    for twin, file in twins().items():
        made = to_ui(json.loads(file.read_text(encoding="utf-8")), nodes_for(file, object_info))
        twin.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
