"""What a few-step weight file needs: sampler, schedule, steps, guidance. Ours say it in their metadata; published ones
are known by name, because a method cannot be read from tensors. Each row names its source."""

import re

from .. import plain_json
from . import flow, loras, whole_flow
from .checked import settings_from
from .settings import HOST_SAMPLERS, HOST_SCHEDULES, SAMPLERS, SCHEDULES, Settings, chosen

METADATA_KEY = "fewstep"
AUTO = "auto"
EXTRACTED = r"(?:turbo|distill(?:ed)?|fast|klein)[-_]lora"  # a whole turbo model as a LoRA has the model's settings
ROWS = flow.ROWS + loras.ROWS  # in the order of patterns: "Hyper-SD3" before "Hyper-SD"
NAMES = [AUTO, *(row.family for row in loras.ROWS + flow.ROWS)]


def from_name(name: str) -> Settings | None:
    """Settings by the file's name, its folder included ("lcm-lora-sdv1-5/pytorch_lora_weights.safetensors")."""
    plain = name.replace("\\", "/").lower()
    for row in ROWS + (whole_flow.ROWS if re.search(EXTRACTED, plain) else ()):
        match = re.search(row.pattern, plain)
        if match:
            return row.make(int(match[1]) if match.re.groups else 0)
    return None


def named(family: str, steps: int, name: str = "") -> Settings:
    """Settings of a family chosen by the user; N of an N-step family is the name's, else the published one nearest."""
    return chosen(ROWS, family, steps, name)


def from_metadata(metadata: dict[str, str]) -> Settings | None:
    """Settings from a file of ours, or None."""
    if METADATA_KEY not in metadata:
        return None
    try:
        settings = settings_from(plain_json.parse(metadata[METADATA_KEY]))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"Its FewStep metadata is damaged ({str(error)[:200]}). Get the file again.") from error
    if settings.sampler not in SAMPLERS + HOST_SAMPLERS or settings.schedule not in SCHEDULES + HOST_SCHEDULES:
        raise ValueError(
            f"Its metadata asks for the sampler {settings.sampler!r} on the schedule {settings.schedule!r}, which this "
            "version of FewStep does not know. Update FewStep."
        )
    return settings


def of_file(name: str, metadata: dict[str, str]) -> Settings | None:
    """From our metadata, else by the known name; None for other files. Raises ValueError for damaged metadata."""
    return from_metadata(metadata) or from_name(name)


def fits(strength: float, settings: Settings) -> bool:
    """A LoRA's strength against its row: in the span that is in use, else within 30 % of the one it was made for."""
    least, most = settings.strengths
    if most:
        return least - 1e-6 <= strength <= most + 1e-6
    return abs(strength - settings.strength) <= 0.3 * max(settings.strength, 0.1)


def advice(settings: Settings, steps: int, strength: float, negative_prompt: str) -> list[str]:
    """Sentences on what does not fit the file."""
    fewest, most = settings.steps
    notes = []
    if not fewest <= steps <= most:
        span = str(most) if fewest == most else f"{fewest}-{most}"
        notes.append(f"{settings.family} was made for {span} steps, not {steps}.")
    if not fits(strength, settings):
        notes.append(f"Strength {strength:g} is far from the {settings.strength:g} it was made for.")
    if settings.note:
        notes.append(settings.note)
    if settings.cfg == 1 and negative_prompt.strip():
        notes.append(
            "At cfg 1 the negative prompt has no effect: raise cfg a little (each step then costs two passes)."
        )
    return notes
