"""Import the pack as `fewstep` without a host.

ComfyUI loads this folder under a name of its own choosing, so inside the pack every import is relative. Tests,
benchmarks and the launcher need the same modules with no ComfyUI installed: `register()` gives them a parent package
`fewstep` whose path is this folder, without running the pack's `__init__.py`.
"""

import sys
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parent


def register() -> None:
    """Make `import fewstep.samplers` and its siblings work from anywhere. Calling it again changes nothing."""
    if "fewstep" in sys.modules:
        return
    package = types.ModuleType("fewstep")
    package.__path__ = [str(ROOT)]
    sys.modules["fewstep"] = package
