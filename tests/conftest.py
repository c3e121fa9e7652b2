"""Make `import fewstep` work; heavier fixtures are asked for by name."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import bootstrap  # noqa: E402 (the path above comes first)

bootstrap.register()
