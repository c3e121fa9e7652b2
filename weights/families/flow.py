"""Published few-step LoRAs for flow models: SD3, Flux, Wan, Qwen-Image, LTX; exact sigmas where a source has them.

Wrong sigmas are the commonest cause of bad pictures here: the host's stock schedulers miss these lists. "The official
template" is the host's own workflow for the file (comfyui-workflow-templates-json 0.1.123); a shift of a base without a
node that sets it is the host's default for the family (its supported_models, read in 0.33.0).
"""

import math
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
LTX_2 = (
    "Lightricks/LTX-2, ltx_pipelines/utils/constants.py (DISTILLED_SIGMA_VALUES and the STAGE_2 list) and "
    "distilled.py (Euler without fresh noise before LTX-2.5), read; its commands give the LoRA 0.8 and 1, the official "
    "templates 0.5 for LTX-2.3"
)
FLUX2_TURBO = (
    "model card fal/FLUX.2-dev-Turbo, read: a list of 8 sigmas, which the pipeline of diffusers (flux2, read) then "
    "shifts by the picture's size; here for one megapixel. Guidance 2.5"
)
WULI = "the official template, read: Euler, 2 steps at shift 3, cfg 1; Wuli's model card was not"
FIRERED = (
    "FireRedTeam/FireRed-Image-Edit, its README names the 8-step LoRA, read; shift 3.1, Euler and cfg 1 are the "
    "official template's, read"
)
CAUSVID = (
    "the official templates and their note, read: 2-4 steps, cfg 1, LoRA at 0.3-0.7, UniPC at shift 8. The LoRA is an "
    "extract; the model itself was trained on t = 1000, 757, 522 (tianweiy/CausVid, configs, read)"
)
CHRONOEDIT = "the README of nv-tlabs/ChronoEdit, read: 8 steps, shift 2, guidance 1, LoRA at 1; UniPC as its pipeline"
ANIMA = "the official templates, read: Euler, simple, 8 steps, cfg 1; the model card was not read"
H3 = (
    "ModelTC/LightX2V, configs/minimax_h3, read (shift 12 without, 6 with the 768p LoRAs; audio 3), and "
    "lightx2v/Minimax-h3-Turbo, discussions 42 and 48, read in excerpts: Euler, simple, the file's number of steps"
)
LTX2 = [1.0, 0.99375, 0.9875, 0.98125, 0.975, 0.909375, 0.725, 0.421875, 0.0]
LTX_FIRST = [1.0, 0.9937, 0.9875, 0.9812, 0.975, 0.9094, 0.725, 0.0]
LTX2_SECOND = (0.909375, 0.725, 0.421875, 0.0)
FLUX2_POINTS = (1.0, 0.6509, 0.4374, 0.2932, 0.1893, 0.1108, 0.0495, 0.00031, 0.0)  # before the shift
FLUX2_MU = 2.26789  # of 1024 x 1024 at 8 steps, by black-forest-labs/flux2's compute_empirical_mu
FLUX_MU, QWEN_MU, FLUX2_OWN_MU, LTX_MU = 1.15, 1.15, 2.02, 2.37  # of the host's bases: shift = e^mu
GUIDANCE = "Set FluxGuidance to 3.5."


def flow(family: str, points: list[float], **options) -> Settings:
    """Euler steps at exact sigmas."""
    steps = len(points) - 1
    return fixed(family, steps, sigmas={str(steps): points}, **options)


def shift_of(t: float, shift: float) -> float:
    """sigma = s t / (1 + (s - 1) t)."""
    return shift * t / (1 + (shift - 1) * t)


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
        options = {"sigmas": {"4": kept}, "shift": 8.0, "source": WAN22, "note": note}
        return fixed(f"Wan 2.2 lightx2v, {part} noise", 4, **options)

    return make


def sd35_turbo(n: int) -> Settings:
    note = "Its shift is not known here: see its model card."
    return fixed("SD3.5 turbo", n, cfg_range=(1.0, 1.5), source=SD35, note=note)


def flux2_turbo(n: int) -> Settings:
    points = [shift_of(t, math.exp(FLUX2_MU)) for t in FLUX2_POINTS]
    note = "Set FluxGuidance to 2.5. The sigmas are for one megapixel."
    return flow("FLUX.2 Turbo", points, shift=math.exp(FLUX2_OWN_MU), source=FLUX2_TURBO, note=note)


def causvid(n: int) -> Settings:
    """The host's KSampler takes a step more for UniPC and leaves the last but one out; 4 of 5 even steps, say."""
    lists = {str(steps): [*shifted(steps + 1, 8.0)[:-2], 0.0] for steps in (2, 3, 4)}
    options = {"sigmas": lists, "strength": 0.5, "strengths": (0.3, 0.7), "shift": 8.0, "source": CAUSVID}
    return Settings("CausVid", "uni_pc", "trailing", (2, 4), 4, **options)


def chronoedit(n: int) -> Settings:
    options = {"sigmas": {"8": shifted(8, 2.0)}, "shift": 8.0, "source": CHRONOEDIT}
    return Settings("ChronoEdit distilled", "uni_pc", "trailing", (8, 8), 8, **options)


def minimax_h3(n: int) -> Settings:
    """768p files are for shift 6; the others keep the base's 12."""
    return Settings("MiniMax-H3 Turbo", "ddim", "simple", (n, n), n, shift=12.0, samplers=("res_multistep",), source=H3)


def minimax_h3_768p(n: int) -> Settings:
    options = {"shift": 6.0, "shift_node": "MiniMaxH3SigmaShift", "samplers": ("res_multistep",), "source": H3}
    return Settings("MiniMax-H3 Turbo 768p", "ddim", "simple", (n, n), n, **options)


def ltx2(family: str, **options) -> Settings:
    return flow(family, LTX2, second=LTX2_SECOND, shift=math.exp(LTX_MU), source=LTX_2, **options)


ROWS = (
    Row("Hyper-SD3", r"hyper-?sd3\w*-(\d+)steps?", hyper_sd3, (4, 8, 16)),
    Row("Hyper-FLUX", r"hyper-?flux[\w.-]*?-(\d+)steps?", hyper_flux, (8, 16)),
    Row("Wan 2.2 lightx2v, high noise", r"wan.?2[._]?2.*high_?noise|wan.?2[._]?2.*lightning.*high", wan22("high")),
    Row("Wan 2.2 lightx2v, low noise", r"wan.?2[._]?2.*low_?noise|wan.?2[._]?2.*lightning.*low", wan22("low")),
    Row(
        "Wan 2.1 lightx2v",
        r"wan.?2[._]?1.*lightx2v|lightx2v_.*step_distill|wan2\.1.*stepdistill",
        lambda n: flow("Wan 2.1 lightx2v", shifted(4, 5.0), samplers=("lcm",), shift=8.0, source=WAN21),
    ),
    Row(
        "Qwen-Image-Lightning",
        r"qwen-image[\w.-]*?-?lightning-(\d)steps",
        lambda n: flow("Qwen-Image-Lightning", shifted(n, 3.0), shift=math.exp(QWEN_MU), source=QWEN),
        (4, 8),
    ),
    Row(
        "FireRed Lightning",
        r"firered[\w.-]*lightning-(\d)steps",
        lambda n: flow("FireRed Lightning", shifted(n, 3.1), shift=math.exp(QWEN_MU), source=FIRERED),
        (8,),
    ),
    Row(
        "Wuli Qwen-Image Turbo, 2 steps",
        r"wuli[\w.-]*turbo[\w.-]*2[_-]?steps",
        lambda n: flow("Wuli Qwen-Image Turbo, 2 steps", shifted(2, 3.0), shift=math.exp(QWEN_MU), source=WULI),
    ),
    Row(
        "FLUX.1 Turbo Alpha",
        r"flux\.?1?-?turbo-?alpha",
        lambda n: fixed("FLUX.1 Turbo Alpha", 8, shift=math.exp(FLUX_MU), source=TURBO_ALPHA, note=GUIDANCE),
    ),
    Row("SD3.5 turbo", r"sd3\.5\w*?_(?:turbo_)?(\d)steps", sd35_turbo, (4, 8)),
    Row("FLUX.2 Turbo", r"flux[._-]?2[._-]?(?:dev[._-])?turbo", flux2_turbo),
    Row(
        "LTX-2.3 distilled",
        r"ltx[-_]2[._]3[\w.-]*distilled[\w.-]*lora",
        lambda n: ltx2("LTX-2.3 distilled", strengths=(0.5, 1.0)),
    ),
    Row("LTX-2 distilled", r"ltx[-_]2[\w.-]*distilled[\w.-]*lora", lambda n: ltx2("LTX-2 distilled")),
    Row(
        "LTX-Video distilled",
        r"ltxv[\w.-]*distilled-lora",
        lambda n: flow("LTX-Video distilled", LTX_FIRST, source=LTX_VIDEO),
    ),
    Row("CausVid", r"causvid", causvid),
    Row("ChronoEdit distilled", r"chronoedit[\w.-]*distill", chronoedit),
    Row(
        "Anima Turbo",
        r"anima[-_]turbo[-_]lora",
        lambda n: flow("Anima Turbo", shifted(8, 3.0), shift=3.0, source=ANIMA),
    ),
    Row("MiniMax-H3 Turbo 768p", r"minimax[-_]?h3[\w.-]*turbo_(\d)step[\w.-]*768p", minimax_h3_768p, (4, 8)),
    Row("MiniMax-H3 Turbo", r"minimax[-_]?h3[\w.-]*turbo_(\d)step", minimax_h3, (4, 8)),
)
