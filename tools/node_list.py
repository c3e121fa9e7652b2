"""Write tests/helpers/nodes.json: what graphs that people saved rely on, the nodes' ids, inputs, outputs and defaults.

`python run.py tool node_list` after a change that is meant; a test compares, so that one that is not meant is seen.
"""

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "tests" / "helpers" / "nodes.json"
FILES = (".safetensors", ".txt", ".csv", ".tsv", ".pt", ".pth")


def listed(node: type) -> dict:
    """One node as graphs see it."""
    inputs = {
        group: {name: described(*spec) for name, spec in widgets.items()}
        for group, widgets in node.INPUT_TYPES().items()
        if group != "hidden"  # the host fills these in
    }
    outputs = [
        f"{name} {kind}" for name, kind in zip(getattr(node, "RETURN_NAMES", node.RETURN_TYPES), node.RETURN_TYPES)
    ]
    return {"title": node.TITLE, "category": node.CATEGORY, **inputs, "outputs": outputs}


def on_disk(words: list[str]) -> bool:
    """Whether a list is of the user's files."""
    return words in ([], ["none"]) or any(word.endswith(FILES) for word in words)


def described(kind, options: dict | None = None) -> str:
    """Type, default and bounds; of a list its words, or "files" where they are what is on the disk."""
    options = options or {}
    if isinstance(kind, list):
        return "files" if on_disk(kind) else f"{options.get('default', kind[0])!r} of {', '.join(kind)}"
    default = f" {options['default']!r}" if "default" in options else ""
    return kind + default + (f" in {options['min']}..{options['max']}" if "min" in options else "")


def text_of(nodes: dict[str, type]) -> str:
    return json.dumps({name: listed(node) for name, node in nodes.items()}, indent=1, ensure_ascii=False) + "\n"


def the_nodes() -> dict[str, type]:
    """Every node, by the embedded host in this process."""
    from ..host import headless

    headless.start()
    from ..nodes import NODE_CLASS_MAPPINGS

    return NODE_CLASS_MAPPINGS


def main() -> None:
    FILE.write_text(text_of(the_nodes()), encoding="utf-8")


if __name__ == "__main__":
    main()
