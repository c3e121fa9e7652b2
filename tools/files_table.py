"""Write docs/files.md: which few-step file needs what, from the rows of weights/families.

`python run.py tool files_table` after a change of a row. A test checks that the page is current and every row in it.
"""

import re
from dataclasses import replace
from pathlib import Path

from ..weights import families
from ..weights.families import models
from ..weights.families.settings import Settings

PAGE = Path(__file__).resolve().parent.parent / "docs" / "files.md"
# A published name of each row. N in it: the row's step counts.
LORAS = {
    "LCM-LoRA": "lcm-lora-sdv1-5",
    "TCD": "TCD-SD15-LoRA",
    "Hyper-SD unified": "Hyper-SD15-1step-lora",
    "Hyper-SD": "Hyper-SD15-Nsteps-lora",
    "Hyper-SD with guidance": "Hyper-SD15-Nsteps-CFG-lora",
    "SDXL-Lightning": "sdxl_lightning_Nstep_lora",
    "PCM, small guidance": "pcm_sd15_smallcfg_Nstep_converted",
    "PCM, normal guidance": "pcm_sd15_normalcfg_Nstep_converted",
    "PCM, LCM-like": "pcm_sd15_lcmlike_lora_converted",
    "DMD2": "dmd2_sdxl_4step_lora_fp16",
    "SwiftBrush": "swiftbrush",
    "SDXL-Turbo": "sd_xl_turbo_lora_v1",
    "Hyper-SD3": "Hyper-SD3-Nsteps-CFG-lora",
    "Hyper-FLUX": "Hyper-FLUX.1-dev-Nsteps-lora",
    "Wan 2.2 lightx2v, high noise": "Wan2.2-Lightning_T2V-A14B-4steps-lora_HIGH",
    "Wan 2.2 lightx2v, low noise": "Wan2.2-Lightning_T2V-A14B-4steps-lora_LOW",
    "Wan 2.1 lightx2v": "wan2.1_t2v_14b_lora_rank64_lightx2v_4step",
    "Qwen-Image-Lightning": "Qwen-Image-Lightning-Nsteps",
    "FLUX.1 Turbo Alpha": "FLUX.1-Turbo-Alpha",
    "SD3.5 turbo": "lora_sd3.5m_turbo_Nsteps",
    "LTX-2 distilled": "ltx-2-19b-distilled-lora-384",
    "LTX-2.3 distilled": "ltx-2.3-22b-distilled-lora-384",
    "LTX-Video distilled": "ltxv-13b-0.9.7-distilled-lora128",
    "FireRed Lightning": "FireRed-Image-Edit-1.0-Lightning-Nsteps-v1.0",
    "Wuli Qwen-Image Turbo, 2 steps": "Wuli-Qwen-Image-2512-Turbo-LoRA-2steps-V1.0-bf16",
    "FLUX.2 Turbo": "Flux2TurboComfyv2",
    "CausVid": "Wan21_CausVid_14B_T2V_lora_rank32",
    "ChronoEdit distilled": "chronoedit_distill_lora",
    "Anima Turbo": "anima-turbo-lora-v0.2",
    "MiniMax-H3 Turbo": "minimax_h3_fl2v_turbo_Nstep_v1.0_comfyui_bf16",
    "MiniMax-H3 Turbo 768p": "minimax_h3_fl2v_turbo_Nstep_v1.1_768p_comfyui_bf16",
}
MODELS = {
    "Hyper-SDXL one-step U-Net": "Hyper-SDXL-1step-Unet-Comfyui.fp16",
    "SDXL-Lightning one step, x0": "sdxl_lightning_1step_x0",
    "SDXL-Lightning": "sdxl_lightning_Nstep",
    "DMD2": "dmd2_sdxl_Nstep_unet_fp16",
    "SD/SDXL-Turbo": "sd_xl_turbo_1.0_fp16",
    "SwiftBrush": "swiftbrush-v2",
    "LCM model": "lcm_sdxl_unet",
    "LCM-LoRA merged in": "my-model-lcm",
    "Z-Image-Turbo": "z_image_turbo_bf16",
    "FLUX.1 schnell": "flux1-schnell",
    "FLUX.2 klein": "flux-2-klein-9b-fp8",
    "FLUX.3 klein": "flux3-image-klein-int8-convrot",
    "Krea 2 Turbo": "krea2_turbo_fp8_scaled",
    "Qwen-Image 2.1 Turbo": "qwen_image_2.1_turbo_int8_convrot",
    "LTX-2 distilled": "ltx-2-19b-distilled",
    "LTX-2.5 distilled": "ltx-2.5-22b-distilled-transformer-comfy-int8-convrot",
    "FastH3": "fastvideo_fasth3_8step_v2_pruned_int8_convrot",
    "FastH3 OmniRef": "fasth3_omniref_8step_pruned_int8_convrot",
    "HiDream-I1 Fast": "hidream_i1_fast_fp8",
    "ERNIE-Image-Turbo": "ernie-image-turbo",
    "Boogu-Image Turbo": "boogu_image_turbo_fp8_scaled",
    "Lens-Turbo": "lens_turbo_bf16",
    "Mage-Flow Turbo": "mage_flow_turbo_int8_convrot",
    "FIBO 2 edit turbo": "fibo2_edit_turbo_int8_convrot",
    "PiD, 4 steps": "pid_flux1_1024_to_4096_4step_bf16",
    "ACE-Step 1.5 Turbo": "acestep_v1.5_turbo",
    "Wan-Animate 2 distilled": "wan_animate_2_distill_int8_convrot",
    "Causal Forcing": "causal_forcing-framewise",
    "HunyuanVideo 1.5 SR 720p": "hunyuanvideo1.5_720p_sr_distilled_fp16",
    "HunyuanVideo 1.5 SR 1080p": "hunyuanvideo1.5_1080p_sr_distilled_fp16",
    "Hunyuan3D 2 Turbo": "hunyuan3d-dit-v2-mv-turbo_fp16",
}
HEAD = """\
# Which file needs what

Written by `python run.py tool files_table` from the rows of `weights/families/`; do not edit it here.

FewStep Load LoRA and FewStep Load Model apply these rows by the file's name, or its folder's
(`lcm-lora-sdv1-5/pytorch_lora_weights.safetensors`). Their report says the same, with the whole source. A file with
another name: choose its `family` on the node. FewStep's own files carry their settings in their metadata.

N stands for the number in the file's name, which is the number of steps to take. Timesteps of `lcm` at 4 steps are 999,
759, 499, 259, of `trailing` 999, 749, 499, 249. cfg 1 means no guidance: a step is one network pass, and a negative
prompt has no effect. On flow models `ddim` is Euler's step; other samplers and `simple`, `normal` are the host's.

The [official templates](templates.md) were held against these rows. FewStep Check Workflow and
`python run.py check FILE` say of any workflow what in it does not fit.

The settings are those of the sources named below. Names and key layouts are tested on generated files; no published
file was run for this release.
"""
TABLE = """
| file | sampler | timesteps | steps | cfg | strength |
|---|---|---|---|---|---|
"""


def span(low: float, high: float, best: float) -> str:
    """ "4", or "1-8, best 4"."""
    return f"{best:g}" if low == high else f"{low:g}-{high:g}, best {best:g}"


def points_of(settings: Settings) -> str:
    """The schedule with a shift that has to be set, or the exact lists, and those of a second pass."""
    lists = [*settings.sigmas.values()]
    if lists:
        second = f"; second pass {listed(settings.second)}" if settings.second else ""
        return "sigmas " + " or ".join(map(listed, lists)) + second
    if settings.shift_node:
        return f"`{settings.schedule}`, {settings.shift_node} {settings.shift:g}"
    if settings.timesteps:
        return "; ".join(f"{', '.join(map(str, points))}" for points in settings.timesteps.values())
    return f"`{settings.schedule}`"


def listed(points) -> str:
    return ", ".join(f"{point:.4g}" for point in points)


def line(name: str, family: str, counts: tuple[int, ...], settings: Settings) -> str:
    """counts: the file is published for each of these, N in its name; none: the settings' own span."""
    steps = "N = " + ", ".join(map(str, counts)) if counts else span(*settings.steps, settings.best_steps)
    sampler = f"`{settings.sampler}`" + (f", eta {settings.eta:g}" if settings.sampler == "tcd" else "")
    cfg = span(*settings.cfg_range, settings.cfg)
    cells = [f"`{name}`<br>{family}", sampler, points_of(settings), steps, cfg]
    strengths = settings.strengths if settings.strengths[1] else (settings.strength, settings.strength)
    return "| " + " | ".join([*cells, span(*strengths, settings.strength)]) + " |"


def numbered(name: str, count: int) -> str:
    """The name with its N, a letter on its own among small ones, put in."""
    return re.sub(r"N(?=steps?)", str(count), name)


def rows_of(table: tuple, examples: dict[str, str]) -> list[tuple]:
    """(name, family, counts, settings) as the examples stand; a line a count where more than the steps differ."""
    by_family, found = {row.family: row for row in table}, []
    for family, name in examples.items():
        row = by_family[family]
        made = {count: row.make(count) for count in row.counts}
        alike = [replace(settings, steps=(1, 1), best_steps=1) for settings in made.values()]
        if any(one != alike[0] for one in alike):
            found += [(numbered(name, count), family, (), settings) for count, settings in made.items()]
        else:
            found.append((name, family, row.counts, made[row.counts[0]] if made else row.make(4)))
    return found


def text() -> str:
    """The whole page."""
    loras, whole = rows_of(families.ROWS, LORAS), rows_of(models.ROWS, MODELS)
    parts = [HEAD, "\n## LoRAs\n", TABLE, "\n".join(line(*entry) for entry in loras), "\n\n## Whole models\n", TABLE]
    parts += ["\n".join(line(*entry) for entry in whole), "\n\n## Sources\n"]
    sources: dict[str, list[str]] = {}
    for _, family, _, settings in (*loras, *whole):
        sources.setdefault(f"{settings.source}.{' ' + settings.note if settings.note else ''}", []).append(family)
    for source, names in sources.items():
        parts.append(f"\n- **{', '.join(dict.fromkeys(names))}**: {source}")
    return "".join(parts) + "\n"


def main() -> None:
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    main()
