"""Write the list of inputs into every help page, from the nodes' own tooltips (en) and from locales/zh (zh).

`python run.py tool help_pages` after changing a widget or its tooltip; a test checks that the pages are current. What a
page says besides is written by hand. A list, because the page's panel is too narrow for a table.
"""

import json
import re
from pathlib import Path

from .node_list import on_disk, the_nodes

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "web" / "docs"
HEADINGS = {"en": "## Inputs", "zh": "## 输入"}
WORDS = {  # around what an input takes, between choices, and what a switch says
    "en": {"open": " (", "close": ")", "colon": ": ", "comma": ", ", True: "on", False: "off"},
    "zh": {"open": "（", "close": "）", "colon": "：", "comma": "、", True: "开", False: "关"},
}


def specs_of(node: type) -> dict[str, tuple]:
    """{input: (type or choices, options)}"""
    groups = node.INPUT_TYPES()
    return {name: spec for group in ("required", "optional") for name, spec in groups.get(group, {}).items()}


def tooltips(node: type, language: str) -> dict[str, str]:
    if language == "zh":
        entry = json.loads((ROOT / "locales" / "zh" / "nodeDefs.json").read_text(encoding="utf-8"))[node.__name__]
        return {name: text["tooltip"] for name, text in entry["inputs"].items()}
    return {name: (spec[1] if len(spec) > 1 else {}).get("tooltip", "") for name, spec in specs_of(node).items()}


def takes(kind, options: dict, words: dict) -> str:
    """What a widget takes, the default first; a socket's type; nothing for what lies on the disk."""
    default = options.get("default")
    if isinstance(kind, list):
        return "" if on_disk(kind) else words["comma"].join(dict.fromkeys(map(str, (default or kind[0], *kind))))
    if kind == "BOOLEAN":
        return words[default]
    if kind in ("INT", "FLOAT"):
        low, high = (f"{options[key]:.12g}" for key in ("min", "max"))
        return f"{default:.12g}" + (f"; {low}..{high}" if options["max"] < 2**31 else "")
    return kind if kind != "STRING" else f'"{default}"' if default else ""


def listed(node: type, language: str) -> str:
    words, said = WORDS[language], tooltips(node, language)
    lines = []
    for name, (kind, *options) in specs_of(node).items():
        values = takes(kind, options[0] if options else {}, words)
        lines.append(
            f"- `{name}`" + (words["open"] + values + words["close"] if values else "") + words["colon"] + said[name]
        )
    return "\n".join(lines)


def written(node: type, language: str) -> str:
    """The page with a current list: the first paragraph below the heading is replaced."""
    page = (PAGES / node.__name__ / f"{language}.md").read_text(encoding="utf-8")
    heading = re.escape(HEADINGS[language])
    block = f"{HEADINGS[language]}\n\n{listed(node, language)}\n"
    return re.sub(rf"^{heading}\n\n(?:.+\n)+", lambda _: block, page, count=1, flags=re.MULTILINE)


def main() -> None:
    for name, node in the_nodes().items():
        for language in HEADINGS:
            (PAGES / name / f"{language}.md").write_text(written(node, language), encoding="utf-8")


if __name__ == "__main__":
    main()
