"""Published full few-step models by name, and what each was made for, each with its source. Flow models: `whole_flow`.

The first hit wins. A list of its own below t = 999 means that the model was trained on unit-variance noise there. An
LCM model is told by its guidance embedding; the published names without one are mislabelled files, and any other name
with "lcm" in it is taken for a model with an LCM-LoRA merged in.
"""

import re

from . import whole_flow
from .loras import DMD2, HYPER, LIGHTNING, SWIFTBRUSH, TURBO
from .settings import Row, Settings, chosen, fixed, up_to_8

LCM_SOURCE = (
    "the README of luosiallen/latent-consistency-model, read: 1-8 steps, guidance 8 through its embedding, 50 original "
    "steps"
)
MERGED_SOURCE = "model card latent-consistency/lcm-lora-sdxl, read: 2-8 steps, guidance off or 1-2"
LIGHTNING_X0 = "SDXL-Lightning one step, x0"
LCM = "LCM model"
MERGED = "LCM-LoRA merged in"
PREDICTS_X0 = (LIGHTNING_X0,)


def one_step(family: str, timestep: int, source: str) -> Settings:
    """One LCM step, asked at `timestep`."""
    return Settings(family, "lcm", "lcm", (1, 1), 1, timesteps={"1": [timestep]}, source=source)


def dmd2(n: int) -> Settings:
    if n == 1:
        return one_step("DMD2 one step", 399, DMD2)
    return Settings("DMD2", "lcm", "trailing", (4, 4), 4, source=DMD2)


def lightning_x0(n: int) -> Settings:
    return fixed(LIGHTNING_X0, 1, source=LIGHTNING)


def turbo(n: int) -> Settings:
    return Settings("SD/SDXL-Turbo", "ddim", "trailing", (1, 4), 1, samplers=("euler_ancestral",), source=TURBO)


def merged(n: int) -> Settings:
    note = "It has no guidance embedding, so by its name it is taken for a model with an LCM-LoRA merged in."
    options = {"cfg_range": (1.0, 2.0), "source": MERGED_SOURCE, "note": note}
    return Settings(MERGED, "lcm", "lcm", (2, 8), 4, **options)


U_NETS = (
    Row("Hyper-SDXL one-step U-Net", r"hyper-?sdxl-1step-unet", lambda n: one_step("Hyper-SDXL one step", 800, HYPER)),
    Row(LIGHTNING_X0, r"sdxl[_-]lightning[_-]1step\w*x0", lightning_x0),
    Row(
        "SDXL-Lightning",
        r"sdxl[_-]lightning[_-](\d)step",
        lambda n: fixed("SDXL-Lightning", n, source=LIGHTNING),
        (2, 4, 8),
    ),
    Row("DMD2", r"dmd2_sdxl_(\d)step", dmd2, (1, 4)),
    Row("SD/SDXL-Turbo", r"sd(?:xl)?[_-]turbo|sd_xl_turbo", turbo),
    Row("SwiftBrush", r"swiftbrush|sbv2", lambda n: one_step("SwiftBrush", 999, SWIFTBRUSH)),
    Row(LCM, r"lcm[_-](?:sdxl|ssd-?1b|dreamshaper)", lambda n: up_to_8(LCM, "lcm", source=LCM_SOURCE)),
    Row(MERGED, r"(?:^|[^a-z])lcm(?:[^a-z]|$)", merged),
)

ROWS = whole_flow.ROWS + U_NETS  # "lcm" anywhere in a name comes last
NAMES = [row.family for row in U_NETS + whole_flow.ROWS]


def found(name: str) -> tuple[Row, Settings] | None:
    """The row of a file and its settings, by the file's name, its folder included."""
    for row in ROWS:
        hit = re.search(row.pattern, name.replace("\\", "/").lower())
        if hit:
            return row, row.make(int(hit[1]) if hit.re.groups else 0)
    return None


def named(family: str, steps: int, name: str = "") -> Settings:
    """Settings of a family chosen by the user; N of an N-step family is the name's, else the published one nearest."""
    return chosen(ROWS, family, steps, name)
