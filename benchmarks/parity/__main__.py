"""max |difference| between our samplers' final latents and diffusers', given one network, one start, one step noise.

    python run.py bench parity

The comparison itself is tests/parity.py and tests/parity_more.py, whose bounds the tests hold; here are the numbers.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

import diffusers  # noqa: E402 (the path above comes first)
import parity  # noqa: E402
import parity_more  # noqa: E402
import torch  # noqa: E402


def main() -> None:
    print(f"diffusers {diffusers.__version__}, torch {torch.__version__}, fp32, latents of {list(parity.SHAPE)}\n")
    print(f"{parity.table()}\n\n{parity_more.table()}")


if __name__ == "__main__":
    main()
