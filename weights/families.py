"""What a few-step weight file needs: sampler, schedule, steps, guidance. Ours say it in their metadata; published ones
are known by name, because a method cannot be read from tensors. Sources: the files' model cards."""

import json
import re
from dataclasses import dataclass, field

METADATA_KEY = "fewstep"


@dataclass(frozen=True)
class Settings:
    """steps: what the file was made for, as (fewest, most); cfg: guidance at sampling, 1 where it is distilled in."""

    family: str
    sampler: str  # "lcm", "tcd" or "ddim"
    schedule: str  # "lcm" (50-step grid), "trailing" or "segments"
    steps: tuple[int, int]
    best_steps: int
    cfg: float = 1.0
    cfg_range: tuple[float, float] = (1.0, 1.0)
    eta: float = 0.0
    strength: float = 1.0
    timesteps: dict[str, list[int]] = field(default_factory=dict)  # by number of steps, where better ones were found


def fixed(family: str, steps: int, **options) -> Settings:
    """A file for exactly N trailing DDIM steps."""
    return Settings(family, "ddim", "trailing", (steps, steps), steps, **options)


def up_to_8(family: str, sampler: str, **options) -> Settings:
    """A file for 1-8 steps on the 50-step grid."""
    return Settings(family, sampler, "lcm", (1, 8), 4, **options)


# (pattern of the file name or its folder, settings from the match), first hit wins.
KNOWN = (
    (
        r"hyper-?sd\w*-(\d+)steps?-cfg",
        lambda m: fixed("Hyper-SD with guidance", int(m[1]), cfg=5.0, cfg_range=(5.0, 8.0)),
    ),
    (r"hyper-?sd\w*-1step-lora", lambda m: up_to_8("Hyper-SD unified", "tcd", eta=1.0)),
    (r"hyper-?sd\w*-(\d+)steps?-lora", lambda m: fixed("Hyper-SD", int(m[1]))),
    (r"sdxl_lightning_(\d)step", lambda m: fixed("SDXL-Lightning", int(m[1]))),
    (r"pcm_\w+_smallcfg_(\d+)step", lambda m: fixed("PCM, small guidance", int(m[1]), cfg_range=(1.0, 2.0))),
    (r"pcm_\w+_normalcfg_(\d+)step", lambda m: fixed("PCM, normal guidance", int(m[1]), cfg=3.0, cfg_range=(2.0, 9.0))),
    (r"pcm_\w+_lcmlike", lambda m: up_to_8("PCM, LCM-like", "lcm")),
    (r"dmd2_sdxl_4step_lora", lambda m: Settings("DMD2", "lcm", "trailing", (4, 4), 4)),
    (r"lcm.?lora|lcm_lora", lambda m: Settings("LCM-LoRA", "lcm", "lcm", (2, 8), 4, cfg_range=(1.0, 2.0))),
    (r"(^|[^a-z])tcd([^a-z]|$)", lambda m: Settings("TCD", "tcd", "lcm", (2, 50), 4, eta=0.3)),
)


def from_name(name: str) -> Settings | None:
    """Settings by the file's name, its folder included ("lcm-lora-sdv1-5/pytorch_lora_weights.safetensors")."""
    for pattern, make in KNOWN:
        match = re.search(pattern, name.replace("\\", "/").lower())
        if match:
            return make(match)
    return None


def from_metadata(metadata: dict[str, str]) -> Settings | None:
    """Settings from a file of ours, or None."""
    if METADATA_KEY not in metadata:
        return None
    try:
        found = json.loads(metadata[METADATA_KEY])["sampling"]
        return Settings(**{**found, "steps": tuple(found["steps"]), "cfg_range": tuple(found["cfg_range"])})
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"Its FewStep metadata is damaged ({error!r}). Get the file again.") from error


def advice(settings: Settings, steps: int, strength: float, negative_prompt: str) -> list[str]:
    """Sentences on what does not fit the file."""
    fewest, most = settings.steps
    notes = []
    if not fewest <= steps <= most:
        span = str(most) if fewest == most else f"{fewest}-{most}"
        notes.append(f"{settings.family} was made for {span} steps, not {steps}.")
    if abs(strength - settings.strength) > 0.3:
        notes.append(f"Strength {strength:g} is far from the {settings.strength:g} it was made for.")
    if settings.cfg == 1 and negative_prompt.strip():
        notes.append(
            "At cfg 1 the negative prompt has no effect: raise cfg a little (each step then costs two passes)."
        )
    return notes
