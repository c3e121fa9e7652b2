"""FewStep from the command line: `python run.py demo`. Needs Python 3.10-3.12 and nothing else; `-h` tells the rest."""

import sys
from pathlib import Path

if sys.version_info < (3, 10):  # noqa: UP036 - the check is for those who have an older one
    sys.exit("FewStep needs Python 3.10, 3.11 or 3.12; this is %d.%d." % sys.version_info[:2])  # noqa: UP031

HERE = str(Path(__file__).resolve().parent)
sys.path.insert(0, HERE)  # a portable build's Python does not do it

from bootstrap import register  # noqa: E402

register()
while HERE in sys.path:  # a module has one name (fewstep.launcher), and `nodes` and `server` are the host's
    sys.path.remove(HERE)

from fewstep.launcher.cli import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
