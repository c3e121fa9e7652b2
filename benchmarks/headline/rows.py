"""Who stands in the table, and at how many steps."""

from ..evidence.claim import STUDENTS
from ..quality.sample import ROOT, Row

LORAS = ROOT / "assets" / "loras"
# The best stock sampler of the base at as many passes (benchmarks/quality).
BASE = {
    1: Row("ddim", 1, 1.0, "sgm_uniform"),
    2: Row("uni_pc", 2, 1.0, "karras"),
    4: Row("uni_pc", 4, 1.0, "karras"),
    8: Row("uni_pc", 4, 1.5, "karras"),
    50: Row("dpmpp_2m", 25, 2.0, "karras"),  # what the students are measured by
}
SAMPLERS = {"TSCD": "tcd", "TSCD + DMD": "tcd", "Imagine Flash": "imagine_flash"}  # lcm: the others
STEPS = {
    "LCM-LoRA": (1, 2, 3, 4, 8),
    "TSCD": (1, 2, 3, 4, 8),
    "TSCD + DMD": (1, 2, 3, 4, 8),
    "Imagine Flash": (1, 2, 3),
    "SwiftBrush": (1,),
    "DMD2, 1 step": (1, 2),
    "DMD2, 4 steps": (2, 3, 4),
    "DMD, 4 segments": (2, 3, 4),
}


def student(name: str, steps: int) -> Row:
    """A student as FewStepLoadLora has it sampled."""
    return Row(SAMPLERS.get(name, "lcm"), steps, schedule="file", lora=str(LORAS / STUDENTS[name]))


def every() -> dict[str, Row]:
    """{name: row}, the fewest steps first; where steps are equal, the base before its students."""
    found = [(passes, f"base, {row.sampler} {row.scheduler}", row) for passes, row in BASE.items()]
    found += [(steps, name, student(name, steps)) for name, own in STEPS.items() for steps in own]
    return {f"{passes} | {name}": row for passes, name, row in sorted(found, key=lambda one: one[0])}
