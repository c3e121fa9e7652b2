"""Write again what is written from something else: `python -m tools`, or one of it: `python -m tools ui_format`."""

import sys
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bootstrap import register  # noqa: E402

register()

WRITERS = ("family_workflows", "node_list", "help_pages", "ui_format")

if __name__ == "__main__":
    for name in sys.argv[1:] or WRITERS:
        import_module(f"fewstep.tools.{name}").main()
