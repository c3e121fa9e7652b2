"""Turn a workflow of the API format into the format users open in the page (positions, sockets, positional widgets).

Run it after changing workflows/api (`python tests/ui_format.py`): it starts the host, asks it for its nodes, and writes
workflows/*.json. A test checks that both folders agree.
"""

import json
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STOCK_ONLY = {"base_text_to_image"}  # for the demo; users have the host's own template
WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
WIDTH, HEIGHT_OF_ROW, GAP = 320, 26, 60


def inputs_of(info: dict) -> dict[str, list]:
    """{name: [type, options]} of a node, required ones first, in the node's own order."""
    return {**info["input"].get("required", {}), **info["input"].get("optional", {})}


def is_widget(spec: list) -> bool:
    kind, options = spec[0], spec[1] if len(spec) > 1 else {}
    return (isinstance(kind, list) or kind in WIDGETS) and not options.get("forceInput")


def is_link(value) -> bool:
    return isinstance(value, list)


def depth(workflow: dict, key: str) -> int:
    """Columns from the left: one more than the deepest node that feeds this one."""
    feeding = [value[0] for value in workflow[key]["inputs"].values() if is_link(value)]
    return 1 + max((depth(workflow, source) for source in feeding), default=-1)


def widget_values(specs: dict, values: dict) -> list:
    """Positional widget values; a linked widget keeps its default, and a seed is followed by its control."""
    found = []
    for name, spec in specs.items():
        if not is_widget(spec):
            continue
        options = spec[1] if len(spec) > 1 else {}
        default = spec[0][0] if isinstance(spec[0], list) and spec[0] else options.get("default")
        value = values.get(name, default)
        found.append(options.get("default", default) if is_link(value) else value)
        if options.get("control_after_generate") or name in ("seed", "noise_seed") and spec[0] == "INT":
            found.append("fixed")
    return found


def to_ui(workflow: dict, object_info: dict) -> dict:
    """The whole conversion. object_info is the host's answer to /object_info."""
    nodes, links, columns = [], [], {}
    for order, (key, node) in enumerate(sorted(workflow.items(), key=lambda item: depth(workflow, item[0]))):
        info = object_info[node["class_type"]]
        specs, column = inputs_of(info), depth(workflow, key)
        sockets = []
        for name, spec in specs.items():
            value = node["inputs"].get(name)
            if is_widget(spec) and not is_link(value):
                continue
            kind = "COMBO" if isinstance(spec[0], list) else spec[0]
            socket = {"name": name, "type": kind, "link": None}
            if is_widget(spec):
                socket["widget"] = {"name": name}
            if is_link(value):
                source = object_info[workflow[value[0]]["class_type"]]
                socket["link"] = len(links) + 1
                socket["type"] = source["output"][value[1]] if kind == "COMBO" else kind
                links.append([len(links) + 1, int(value[0]), value[1], int(key), len(sockets), socket["type"]])
            sockets.append(socket)
        widgets = widget_values(specs, node["inputs"])
        height = 40 + HEIGHT_OF_ROW * (max(len(sockets), len(info["output"])) + len(widgets))
        top = columns.get(column, 0)
        columns[column] = top + height + GAP
        outputs = [{"name": n, "type": t, "links": []} for n, t in zip(info["output_name"], info["output"])]
        nodes.append(
            {
                "id": int(key),
                "type": node["class_type"],
                "pos": [column * (WIDTH + GAP), top],
                "size": [WIDTH, height],
                "flags": {},
                "order": order,
                "mode": 0,
                "inputs": sockets,
                "outputs": outputs,
                "properties": {"Node name for S&R": node["class_type"]},
                "widgets_values": widgets,
            }
        )
    by_id = {node["id"]: node for node in nodes}
    for link in links:
        by_id[link[1]]["outputs"][link[2]]["links"].append(link[0])
    return {
        "last_node_id": max(by_id),
        "last_link_id": len(links),
        "nodes": nodes,
        "links": links,
        "groups": [],
        "config": {},
        "extra": {},
        "version": 0.4,
    }


def main() -> None:
    """Write the twin of every API workflow that shows our nodes."""
    sys.path.insert(0, str(ROOT))
    from launcher import server

    with server.host(workdir=tempfile.mkdtemp(prefix="fewstep-ui-")) as host:
        object_info = host.client().object_info()
    for file in sorted((ROOT / "workflows" / "api").glob("*.json")):
        if file.stem not in STOCK_ONLY:
            text = json.dumps(to_ui(json.loads(file.read_text(encoding="utf-8")), object_info), indent=1)
            (ROOT / "workflows" / file.name).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
