"""Published whole few-step flow models by name: a row per family, each with the source of its numbers.

Files that the host's own loaders read, quantised ones too. "The official template" is as in `flow`. Audio and 3D
families come with sampler and sigmas alone: nothing else of them is this pack's.
"""

import math

from .flow import LTX2, LTX2_SECOND, LTX_MU, shift_of
from .settings import Row, Settings, shifted

Z_IMAGE = (
    "the README and inference.py of Tongyi-MAI/Z-Image, read: 8 network passes, no guidance, shift 3, Euler; the "
    "official templates take res_multistep"
)
FLUX2_KLEIN = (
    "black-forest-labs/flux2, its table of models and sampling.py (the shift by size), read: 4 steps, guidance 1; "
    "sigmas here for one megapixel"
)
SCHNELL = "black-forest-labs/flux, src/flux/cli.py, read: 4 steps without a shift; guidance 0 by diffusers' guide"
FLUX3_KLEIN = (
    "the README of black-forest-labs/flux-3-image-klein, read in an excerpt: 16 steps, no guidance; Euler on the "
    "simple schedule is the official template's, read"
)
KREA2 = "the README of krea-ai/krea-2, read: Turbo in 8 steps without guidance at the fixed mu 1.15"
QWEN21 = (
    "the official templates' list of 8 sigmas, read; the checkpoint brings it as sample_sigmas (a repackager's card, "
    "read in an excerpt)"
)
LTX_2 = "Lightricks/LTX-2, ltx_pipelines/utils/constants.py and distilled.py, read: Euler, cfg 1, both lists"
LTX_25 = (
    "Lightricks/LTX-2, ltx_pipelines/utils/constants.py and distilled.py, read: from LTX-2.5 on Euler ancestral (eta "
    "1) in the first pass, Euler in the second"
)
FASTH3 = (
    "FastVideo/FastVideo-FastH3-8-Step-V2's card, read in a copy, and its NVFP4 build's: 8 steps, res_multistep, "
    "simple, shift 10 for video and 3 for audio"
)
OMNIREF = "the official template, read: Euler, simple, 8 steps, cfg 1, shift 12 for video and 3 for audio"
HIDREAM = (
    "HiDream-ai/HiDream-I1, inference.py, read: 16 steps at shift 3 without guidance, fresh noise on every step; the "
    "normal schedule is the official template's, read"
)
ERNIE = "the README of baidu/ERNIE-Image, read: Turbo in 8 steps, guidance 1; Euler, simple by the official template"
BOOGU = (
    "boogu-project/Boogu-Image, pipeline_boogu_turbo.py, read: even sigmas from 0.999 without a shift, fresh noise on "
    "every step, guidance 1; 3-4 steps by its README"
)
LENS = (
    "the official template and its note, read: 4 steps, cfg 1, Euler; the host's shift for the family. The author's "
    "repository is no longer public"
)
MAGE = "microsoft/Mage, mage_flow/README.md and pipeline.py, read: Turbo in 4 steps, cfg 1, shift 6"
FIBO2 = "the official template, read: Euler, simple, 4 steps, cfg 1; its card was read in excerpts (4 steps)"
PID = (
    "nv-tlabs/PiD, the experiments' student_t_list and pid_distill_model.py, read: 0.999, 0.866, 0.634, 0.342, 0 with "
    "fresh noise on every step, cfg 1"
)
ACE_STEP = (
    "the guides of ace-step/ACE-Step-1.5, read: Turbo in 8 steps without guidance, shift 3 recommended. The 8 points "
    "are even steps at that shift"
)
WAN_ANIMATE2 = (
    "the official template, read: LCM, simple, 10 steps, cfg 1, shift 5; diffusers' guide pins the guidance of the "
    "distilled one to 1, read"
)
CAUSAL_FORCING = (
    "thu-ml/Causal-Forcing, configs/causal_forcing_dmd_framewise.yaml, read: 1000, 750, 500, 250 at shift 5; ar_video "
    "is the host's sampler for it"
)
HUNYUAN_SR = "the README of Tencent-Hunyuan/HunyuanVideo-1.5, read: step-distilled SR at cfg 1, shift 2, 6 or 8 steps"
HUNYUAN3D = (
    "Tencent-Hunyuan/Hunyuan3D-2, examples/fast_shape_gen_multiview.py, read: 5 steps; cfg 1 with FluxGuidance by the "
    "host's guide, read"
)
QWEN21_POINTS = [1.0, 0.978453, 0.95418, 0.926626, 0.89508, 0.845148, 0.704534, 0.414568, 0.0]
PID_POINTS = [0.999, 0.866, 0.634, 0.342, 0.0]
FLUX2_KLEIN_MU = 2.29118  # of 1024 x 1024 at 4 steps, by black-forest-labs/flux2's compute_empirical_mu
FLUX2_OWN_MU, KREA2_MU, LENS_MU = 2.02, 1.15, 1.829  # of the host's bases: shift = e^mu


def at(family: str, *lists: list[float], sampler: str = "ddim", **options) -> Settings:
    """Exact sigmas, one list or one for each number of steps; the last is the best."""
    steps = [len(points) - 1 for points in lists]
    sigmas = {str(n): points for n, points in zip(steps, lists)}
    return Settings(family, sampler, "trailing", (min(steps), max(steps)), steps[-1], sigmas=sigmas, **options)


def simple(family: str, steps: int, *, sampler: str = "ddim", schedule: str = "simple", **options) -> Settings:
    """A schedule of the host on the model's own sampling, or on what `shift_node` sets."""
    return Settings(family, sampler, schedule, (steps, steps), steps, **options)


def even(steps: int, top: float = 1.0) -> list[float]:
    return [top * (1 - j / steps) for j in range(steps + 1)]


def boogu(n: int) -> Settings:
    """The author's grid 0.001, ... of 1 - sigma: N even steps that end before 0."""
    lists = [[1 - (0.001 + 0.999 * j / steps) for j in range(steps)] + [0.0] for steps in (3, 4)]
    return at("Boogu-Image Turbo", *lists, sampler="lcm", shift=3.16, source=BOOGU)


def flux2_klein(n: int) -> Settings:
    points = [shift_of(t, math.exp(FLUX2_KLEIN_MU)) for t in even(4)]
    note = "The sigmas are for one megapixel; the host's Flux2Scheduler makes those of other sizes."
    options = {"shift": math.exp(FLUX2_OWN_MU), "schedules": ("Flux2Scheduler",), "source": FLUX2_KLEIN, "note": note}
    return at("FLUX.2 klein", points, **options)


def ltx(family: str, source: str, **options) -> Settings:
    return at(family, LTX2, second=LTX2_SECOND, shift=math.exp(LTX_MU), source=source, **options)


def fasth3(n: int) -> Settings:
    options = {"shift": 10.0, "shift_node": "MiniMaxH3SigmaShift", "source": FASTH3}
    return simple("FastH3", 8, sampler="res_multistep", **options)


def lens(n: int) -> Settings:
    return simple("Lens-Turbo", 4, shift=math.exp(LENS_MU), source=LENS)


def hunyuan_sr(height: int, steps: int) -> Settings:
    return at(f"HunyuanVideo 1.5 SR {height}p", shifted(steps, 2.0), shift=2.0, source=HUNYUAN_SR)


def hunyuan3d(n: int) -> Settings:
    note = "The guidance is in the network: FluxGuidance sets it, the author's default is 5."
    return at("Hunyuan3D 2 Turbo", even(5), shift=1.0, source=HUNYUAN3D, note=note)


ROWS = (
    Row(
        "Z-Image-Turbo",
        r"z[-_]?image[-_]turbo",
        lambda n: at("Z-Image-Turbo", shifted(8, 3.0), samplers=("res_multistep",), shift=3.0, source=Z_IMAGE),
    ),
    Row("FLUX.2 klein", r"flux[._-]?2[._-]klein(?![._-]base)", flux2_klein),
    Row(
        "FLUX.1 schnell",
        r"flux[._-]?1?[._-]schnell",
        lambda n: at("FLUX.1 schnell", *map(even, (1, 2, 3, 4)), shift=1.0, source=SCHNELL),
    ),
    Row(
        "FLUX.3 klein",
        r"flux[._-]?3[\w.-]*klein(?![._-]base)",
        lambda n: simple("FLUX.3 klein", 16, source=FLUX3_KLEIN),
    ),
    Row(
        "Krea 2 Turbo",
        r"krea[._-]?2[._-]turbo",
        lambda n: at("Krea 2 Turbo", shifted(8, math.exp(KREA2_MU)), shift=math.exp(KREA2_MU), source=KREA2),
    ),
    Row(
        "Qwen-Image 2.1 Turbo",
        r"qwen[-_]image[-_]2\.?1[-_]turbo",
        lambda n: at("Qwen-Image 2.1 Turbo", QWEN21_POINTS, source=QWEN21),
    ),
    Row(
        "LTX-2.5 distilled",
        r"ltx[-_]2[._]5[\w.-]*distilled",
        lambda n: ltx("LTX-2.5 distilled", LTX_25, sampler="euler_ancestral"),
    ),
    Row("LTX-2 distilled", r"ltx[-_]2[\w.-]*distilled", lambda n: ltx("LTX-2 distilled", LTX_2)),
    Row("FastH3 OmniRef", r"fasth3[_-]omniref", lambda n: simple("FastH3 OmniRef", 8, shift=12.0, source=OMNIREF)),
    Row("FastH3", r"fasth3[\w.-]*8[_-]?step", fasth3),
    Row(
        "HiDream-I1 Fast",
        r"hidream[_-]i1[_-]fast",
        lambda n: simple("HiDream-I1 Fast", 16, sampler="lcm", schedule="normal", shift=3.0, source=HIDREAM),
    ),
    Row(
        "ERNIE-Image-Turbo",
        r"ernie[_-]image[_-]turbo",
        lambda n: at("ERNIE-Image-Turbo", shifted(8, 3.0), shift=3.0, source=ERNIE),
    ),
    Row("Boogu-Image Turbo", r"boogu[\w.-]*turbo", boogu),
    Row(
        "Lens-Turbo",
        r"(?:^|[^a-z])lens[_-]turbo",
        lens,
    ),
    Row(
        "Mage-Flow Turbo",
        r"mage[_-]flow[\w.-]*turbo",
        lambda n: at("Mage-Flow Turbo", shifted(4, 6.0), shift=6.0, source=MAGE),
    ),
    Row("FIBO 2 edit turbo", r"fibo[-_]?2(?:\.0)?[\w.-]*turbo", lambda n: simple("FIBO 2 edit turbo", 4, source=FIBO2)),
    Row(
        "PiD, 4 steps",
        r"(?:^|[^a-z])pid_[\w.-]*4step",
        lambda n: at("PiD, 4 steps", PID_POINTS, sampler="lcm", shift=1.5, source=PID),
    ),
    Row(
        "ACE-Step 1.5 Turbo",
        r"ace[-_]?step[\w.-]*1\.5[\w.-]*turbo",
        lambda n: at("ACE-Step 1.5 Turbo", shifted(8, 3.0), shift=3.0, source=ACE_STEP),
    ),
    Row(
        "Wan-Animate 2 distilled",
        r"wan[-_]animate[-_]2[-_]distill",
        lambda n: at("Wan-Animate 2 distilled", shifted(10, 5.0), sampler="lcm", shift=5.0, source=WAN_ANIMATE2),
    ),
    Row(
        "Causal Forcing",
        r"causal[-_]forcing[-_]framewise",
        lambda n: at("Causal Forcing", shifted(4, 5.0), sampler="ar_video", shift=5.0, source=CAUSAL_FORCING),
    ),
    Row("HunyuanVideo 1.5 SR 720p", r"hunyuanvideo1\.5_720p_sr_distilled", lambda n: hunyuan_sr(720, 6)),
    Row("HunyuanVideo 1.5 SR 1080p", r"hunyuanvideo1\.5_1080p_sr_distilled", lambda n: hunyuan_sr(1080, 8)),
    Row("Hunyuan3D 2 Turbo", r"hunyuan3d[\w.-]*turbo", hunyuan3d),
)
