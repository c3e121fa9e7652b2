"""Published few-step LoRAs for flow models: SD3, Flux, Wan, Qwen-Image, LTX; exact sigmas where a source has them.

Wrong sigmas are the commonest cause of bad pictures here: the host's stock schedulers miss these lists.
"""

from collections.abc import Callable

from .settings import Row, Settings, fixed, shifted

HYPER_SD3 = (
    "ByteDance/Hyper-SD's model card, its news of 19 August 2024 read in the README's change: guidance 3, 5, 7 at 4, "
    "8, 16 steps, LoRA at 0.125; the 8- and 16-step files bear a little fewer steps"
)
HYPER_FLUX = (
    "an application of ByteDance's own with the 8-step file, read in a copy: LoRA at 0.125, 8 steps. Guidance 3.5 as "
    "others use it; the model card's part on Flux was not read"
)
WAN22 = (
    "the author in ModelTC/Wan2.2-Lightning, issue 3: timesteps 1000, 937.5, 833.3, 625, 0 (four even steps at shift "
    "5); parts by the boundaries 0.875 (text) and 0.9 (picture) of its wan/configs, guidance off. All read"
)
WAN21 = (
    "ModelTC/LightX2V, configs/distill/wan21 (1000, 750, 500, 250 at shift 5, cfg off) and "
    "schedulers/wan/step_distill/scheduler.py (the list is shifted; Euler steps), both read. From July to November "
    "2025 it put fresh noise on every step instead"
)
QWEN = (
    "generate_with_diffusers.py of ModelTC/Qwen-Image-Lightning, read: shift 3 whatever the picture's size, no "
    "terminal shift, true cfg 1"
)
TURBO_ALPHA = "model card alimama-creative/FLUX.1-Turbo-Alpha, read: 8 steps, guidance 3.5, LoRA at 1"
SD35 = (
    "tensorart/stable-diffusion-3.5-medium-turbo: steps by the files' names; guidance 1 to 1.5 and shift 3 or 5 in "
    "others' code that was read; its model card was not"
)
LTX_VIDEO = (
    "Lightricks/LTX-Video, configs/ltxv-13b-0.9.7-distilled.yaml (as added) and the 0.9.8 ones, first pass, guidance "
    "1, read (LTX-2 has a step more)"
)
LTX_2 = "Lightricks/LTX-2, ltx_pipelines/utils/constants.py (DISTILLED_SIGMA_VALUES), read"
LTX2 = [1.0, 0.99375, 0.9875, 0.98125, 0.975, 0.909375, 0.725, 0.421875, 0.0]
LTX_FIRST = [1.0, 0.9937, 0.9875, 0.9812, 0.975, 0.9094, 0.725, 0.0]
GUIDANCE = "Set FluxGuidance to 3.5."


def flow(family: str, points: list[float], **options) -> Settings:
    """Euler steps at exact sigmas."""
    steps = len(points) - 1
    return fixed(family, steps, sigmas={str(steps): points}, **options)


def hyper_sd3(n: int) -> Settings:
    cfg = {4: 3.0, 8: 5.0, 16: 7.0}.get(n, 5.0)
    return fixed("Hyper-SD3", n, cfg=cfg, cfg_range=(3.0, 7.0), strength=0.125, source=HYPER_SD3)


def hyper_flux(n: int) -> Settings:
    return fixed("Hyper-FLUX", n, strength=0.125, source=HYPER_FLUX, note=GUIDANCE)


def wan22(part: str) -> Callable[[int], Settings]:
    """The high-noise file covers the sigmas above the boundary, the low-noise file the rest: 2 + 2 of 4 steps."""

    def make(n: int) -> Settings:
        points = shifted(4, 5.0)
        kept = points[:3] if part == "high" else points[2:]
        other = "low" if part == "high" else "high"
        note = f"This is the {part}-noise half of 4 steps; sample the {other}-noise model with the {other} file's half."
        return fixed(f"Wan 2.2 lightx2v, {part} noise", 4, sigmas={"4": kept}, source=WAN22, note=note)

    return make


def sd35_turbo(n: int) -> Settings:
    note = "Its shift is not known here: see its model card."
    return fixed("SD3.5 turbo", n, cfg_range=(1.0, 1.5), source=SD35, note=note)


ROWS = (
    Row("Hyper-SD3", r"hyper-?sd3\w*-(\d+)steps?", hyper_sd3, (4, 8, 16)),
    Row("Hyper-FLUX", r"hyper-?flux[\w.-]*?-(\d+)steps?", hyper_flux, (8, 16)),
    Row("Wan 2.2 lightx2v, high noise", r"wan.?2[._]?2.*high_?noise|wan.?2[._]?2.*lightning.*high", wan22("high")),
    Row("Wan 2.2 lightx2v, low noise", r"wan.?2[._]?2.*low_?noise|wan.?2[._]?2.*lightning.*low", wan22("low")),
    Row(
        "Wan 2.1 lightx2v",
        r"wan.?2[._]?1.*lightx2v|lightx2v_.*step_distill|wan2\.1.*stepdistill",
        lambda n: flow("Wan 2.1 lightx2v", shifted(4, 5.0), source=WAN21),
    ),
    Row(
        "Qwen-Image-Lightning",
        r"qwen-image[\w.-]*?-?lightning-(\d)steps",
        lambda n: flow("Qwen-Image-Lightning", shifted(n, 3.0), source=QWEN),
        (4, 8),
    ),
    Row(
        "FLUX.1 Turbo Alpha",
        r"flux\.?1?-?turbo-?alpha",
        lambda n: fixed("FLUX.1 Turbo Alpha", 8, source=TURBO_ALPHA, note=GUIDANCE),
    ),
    Row("SD3.5 turbo", r"sd3\.5\w*?_(?:turbo_)?(\d)steps", sd35_turbo, (4, 8)),
    Row("LTX-2 distilled", r"ltx-2[\w.-]*distilled-lora", lambda n: flow("LTX-2 distilled", LTX2, source=LTX_2)),
    Row(
        "LTX-Video distilled",
        r"ltxv[\w.-]*distilled-lora",
        lambda n: flow("LTX-Video distilled", LTX_FIRST, source=LTX_VIDEO),
    ),
)
