"""Published few-step files by name: one row per family, each with the source of its numbers.

A row is (family, pattern of the file's name or its folder, settings from the number of steps in the name). The first
hit wins. Where a source leaves something open, the row's `source` or `note` says so.
"""

from collections.abc import Callable
from typing import NamedTuple

from .settings import Settings, fixed, shifted, up_to_8

HYPER = "model card ByteDance/Hyper-SD"
PCM = "model card wangfuyun/PCM_Weights"
WAN22 = (
    "the author in ModelTC/Wan2.2-Lightning, issue 3: timesteps 1000, 937.5, 833.3, 625, 0 (four even steps at shift 5)"
)
WAN22_PARTS = "; parts: boundary 0.875 (text) and 0.9 (picture) of Wan2.2's wan_t2v_A14B.py and wan_i2v_A14B.py"
LTX2 = [1.0, 0.99375, 0.9875, 0.98125, 0.975, 0.909375, 0.725, 0.421875, 0.0]
LTX_FIRST = [1.0, 0.9937, 0.9875, 0.9812, 0.975, 0.9094, 0.725, 0.0]


class Row(NamedTuple):
    family: str
    pattern: str
    make: Callable[[int], Settings]


def flow(family: str, points: list[float], **options) -> Settings:
    """Euler steps at exact sigmas."""
    steps = len(points) - 1
    return fixed(family, steps, sigmas={str(steps): points}, **options)


def hyper_sd3(n: int) -> Settings:
    cfg = {4: 3.0, 8: 5.0, 16: 7.0}.get(n, 5.0)
    return fixed("Hyper-SD3", n, cfg=cfg, cfg_range=(3.0, 7.0), strength=0.125, source=HYPER)


def hyper_flux(n: int) -> Settings:
    note = "Set FluxGuidance to 3.5."
    return fixed("Hyper-FLUX", n, strength=0.125, source=HYPER, note=note)


def wan22(part: str) -> Callable[[int], Settings]:
    """The high-noise file covers the sigmas above the boundary, the low-noise file the rest: 2 + 2 of 4 steps."""

    def make(n: int) -> Settings:
        points = shifted(4, 5.0)
        kept = points[:3] if part == "high" else points[2:]
        other = "low" if part == "high" else "high"
        note = f"This is the {part}-noise half of 4 steps; sample the {other}-noise model with the {other} file's half."
        source = WAN22 + WAN22_PARTS
        options = {"sigmas": {"4": kept}, "source": source, "note": note}
        return fixed(f"Wan 2.2 lightx2v, {part} noise", 4, **options)

    return make


def wan21(n: int) -> Settings:
    source = (
        "lightx2v's configurations: denoising_step_list 1000, 750, 500, 250 at sample_shift 5, cfg off. That the list "
        "is shifted follows from the Wan 2.2 author's list; the lcm sampler from ports that call it so"
    )
    note = "The sampler (lcm) is not confirmed by its authors: try FewStep Sampler with ddim too."
    return Settings(
        "Wan 2.1 lightx2v", "lcm", "trailing", (4, 4), 4, sigmas={"4": shifted(4, 5.0)}, source=source, note=note
    )


def qwen(n: int) -> Settings:
    return flow("Qwen-Image-Lightning", shifted(n, 3.0), source="model card lightx2v/Qwen-Image-Lightning: shift 3")


def sd35_turbo(n: int) -> Settings:
    source = "tensorart/stable-diffusion-3.5-medium-turbo: steps by the files' names; no source found for shift and cfg"
    return fixed("SD3.5 turbo", n, source=source, note="Its shift and cfg are not known here: see its model card.")


ROWS = (
    Row("Hyper-SD3", r"hyper-?sd3\w*-(\d+)steps?", hyper_sd3),
    Row("Hyper-FLUX", r"hyper-?flux[\w.-]*?-(\d+)steps?", hyper_flux),
    Row(
        "Hyper-SD with guidance",
        r"hyper-?sd\w*-(\d+)steps?-cfg",
        lambda n: fixed("Hyper-SD with guidance", n, cfg=5.0, cfg_range=(5.0, 8.0), source=HYPER),
    ),
    Row(
        "Hyper-SD unified",
        r"hyper-?sd\w*-1step-lora",
        lambda n: up_to_8("Hyper-SD unified", "tcd", eta=1.0, source=HYPER),
    ),
    Row("Hyper-SD", r"hyper-?sd\w*-(\d+)steps?-lora", lambda n: fixed("Hyper-SD", n, source=HYPER)),
    Row(
        "SDXL-Lightning",
        r"sdxl_lightning_(\d)step",
        lambda n: fixed("SDXL-Lightning", n, source="model card ByteDance/SDXL-Lightning"),
    ),
    Row(
        "PCM, small guidance",
        r"pcm_\w+_smallcfg_(\d+)step",
        lambda n: fixed("PCM, small guidance", n, cfg_range=(1.0, 2.0), source=PCM),
    ),
    Row(
        "PCM, normal guidance",
        r"pcm_\w+_normalcfg_(\d+)step",
        lambda n: fixed("PCM, normal guidance", n, cfg=3.0, cfg_range=(2.0, 9.0), source=PCM),
    ),
    Row("PCM, LCM-like", r"pcm_\w+_lcmlike", lambda n: up_to_8("PCM, LCM-like", "lcm", source=PCM)),
    Row(
        "DMD2",
        r"dmd2_sdxl_4step_lora",
        lambda n: Settings("DMD2", "lcm", "trailing", (4, 4), 4, source="model card tianweiy/DMD2"),
    ),
    Row(
        "LCM-LoRA",
        r"lcm.?lora|lcm_lora",
        lambda n: Settings(
            "LCM-LoRA",
            "lcm",
            "lcm",
            (2, 8),
            4,
            cfg_range=(1.0, 2.0),
            source="model cards latent-consistency/lcm-lora-*",
        ),
    ),
    Row(
        "TCD",
        r"(?:^|[^a-z])tcd(?:[^a-z]|$)",
        lambda n: Settings("TCD", "tcd", "lcm", (2, 50), 4, eta=0.3, source="model cards h1t/TCD-*-LoRA"),
    ),
    Row(
        "SwiftBrush",
        r"swift_?brush|sbv2",
        lambda n: fixed("SwiftBrush", 1, source="SwiftBrush v1 and v2: one step from t = 999"),
    ),
    Row(
        "SDXL-Turbo",
        r"sd_?xl_turbo",
        lambda n: Settings(
            "SDXL-Turbo", "ddim", "trailing", (1, 4), 1, source="model card stabilityai/sdxl-turbo: 1-4 steps, no cfg"
        ),
    ),
    Row("Wan 2.2 lightx2v, high noise", r"wan.?2[._]?2.*high_?noise|wan.?2[._]?2.*lightning.*high", wan22("high")),
    Row("Wan 2.2 lightx2v, low noise", r"wan.?2[._]?2.*low_?noise|wan.?2[._]?2.*lightning.*low", wan22("low")),
    Row("Wan 2.1 lightx2v", r"wan.?2[._]?1.*lightx2v|lightx2v_.*step_distill|wan2\.1.*stepdistill", wan21),
    Row("Qwen-Image-Lightning", r"qwen-image[\w.-]*?-?lightning-(\d)steps", qwen),
    Row(
        "FLUX.1 Turbo Alpha",
        r"flux\.?1?-?turbo-?alpha",
        lambda n: fixed(
            "FLUX.1 Turbo Alpha",
            8,
            source="model card alimama-creative/FLUX.1-Turbo-Alpha: 8 steps, guidance 3.5, scale 1",
            note="Set FluxGuidance to 3.5.",
        ),
    ),
    Row("SD3.5 turbo", r"sd3\.5\w*?_(?:turbo_)?(\d)steps", sd35_turbo),
    Row(
        "LTX-2 distilled",
        r"ltx-2[\w.-]*distilled-lora",
        lambda n: flow("LTX-2 distilled", LTX2, source="Lightricks/LTX-2, ltx_pipelines/utils/constants.py"),
    ),
    Row(
        "LTX-Video distilled",
        r"ltxv[\w.-]*distilled-lora",
        lambda n: flow(
            "LTX-Video distilled",
            LTX_FIRST,
            source="Lightricks/LTX-Video, configs/ltxv-13b-0.9.7-distilled.yaml, first pass (LTX-2 has a step more)",
        ),
    ),
)
