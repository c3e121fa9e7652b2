"""max |difference| between our samplers' final latents and diffusers', given one network, one start, one step noise.

    python run.py bench parity

The comparison itself is `compare` and `closed_forms`, whose bounds the tests hold; here are the numbers.
"""

import diffusers
import torch

from . import closed_forms, compare


def main() -> None:
    print(f"diffusers {diffusers.__version__}, torch {torch.__version__}, fp32, latents of {list(compare.SHAPE)}\n")
    print(f"{compare.table()}\n\n{closed_forms.table()}")


if __name__ == "__main__":
    main()
