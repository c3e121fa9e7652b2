"""Published full few-step models by name, and what each was made for. Sources: the files' model cards.

The first hit wins. A list of its own below t = 999 means that the model was trained on unit-variance noise there.
"""

from .published import HYPER, Row
from .settings import Settings, fixed, up_to_8

LIGHTNING = "model card ByteDance/SDXL-Lightning"
LIGHTNING_X0 = "SDXL-Lightning one step, x0"
LCM = "LCM model"
PREDICTS_X0 = (LIGHTNING_X0,)


def one_step(family: str, timestep: int, source: str) -> Settings:
    """One LCM step, asked at `timestep`."""
    return Settings(family, "lcm", "lcm", (1, 1), 1, timesteps={"1": [timestep]}, source=source)


def dmd2(n: int) -> Settings:
    source = "model card tianweiy/DMD2"
    if n == 1:
        return one_step("DMD2 one step", 399, source)
    return Settings("DMD2", "lcm", "trailing", (4, 4), 4, source=source)


def lightning_x0(n: int) -> Settings:
    return fixed(LIGHTNING_X0, 1, source=LIGHTNING)


def turbo(n: int) -> Settings:
    return Settings(
        "SD/SDXL-Turbo", "ddim", "trailing", (1, 4), 1, source="model cards stabilityai/sd-turbo, sdxl-turbo"
    )


ROWS = (
    Row("Hyper-SDXL one-step U-Net", r"hyper-?sdxl-1step-unet", lambda n: one_step("Hyper-SDXL one step", 800, HYPER)),
    Row(LIGHTNING_X0, r"sdxl[_-]lightning[_-]1step\w*x0", lightning_x0),
    Row("SDXL-Lightning", r"sdxl[_-]lightning[_-](\d)step", lambda n: fixed("SDXL-Lightning", n, source=LIGHTNING)),
    Row("DMD2", r"dmd2_sdxl_(\d)step", dmd2),
    Row("SD/SDXL-Turbo", r"sd(?:xl)?[_-]turbo|sd_xl_turbo", turbo),
    Row(
        "SwiftBrush",
        r"swiftbrush|sbv2",
        lambda n: one_step("SwiftBrush", 999, "SwiftBrush v2: one network pass at t = 999"),
    ),
    Row(LCM, r"\blcm\b|lcm[_-]", lambda n: up_to_8(LCM, "lcm", source="model card SimianLuo/LCM_Dreamshaper_v7")),
)
