"""Published few-step LoRAs by name: one row per family, each with the source of its numbers, as far as it was read.

A row is (family, pattern of the file's name or its folder, settings from the number of steps in the name, the numbers
of steps it is published for). The first hit wins. Where a source leaves something open, `source` or `note` says so.
Flow models' rows are in `flow.py`.
"""

from .settings import Row, Settings, fixed, up_to_8

HYPER = (
    "ByteDance/Hyper-SD's model card, read in a copy of April 2024: DDIM with trailing timesteps and no guidance at N "
    "steps; the unified LoRA by TCD, eta 1, 1-8 steps; the one-step U-Net by LCM at t = 800"
)
HYPER_CFG = (
    "ByteDance/Hyper-SD's model card, its news of April and May 2024 read in the README's change of August 2024: the "
    "12-step file bears guidance 5-8; taken for the 8-step file too. Timesteps as for the other N-step files"
)
LIGHTNING = (
    "ByteDance/SDXL-Lightning's model card, a full copy read: Euler, trailing, no guidance, the file's own number of "
    "steps; the one-step file predicts x0"
)
PCM = (
    "wangfuyun/PCM_Weights' model card, read: DDIM or Euler, trailing; small cfg 1-2, normal cfg 2-9 (2.5-3.5 at 4 "
    "steps, 3-6 at 8), the LCM-like file as LCM"
)
DMD2 = (
    "the README of tianweiy/DMD2, read: LCMScheduler at t = 999, 749, 499, 249 without guidance, the LoRA at scale 1 "
    "(less on community models); the one-step file at t = 399"
)
TURBO = (
    "diffusers' guide to SDXL-Turbo, read: 1-4 steps, no guidance, trailing. Stability's own demo (generative-models, "
    "scripts/demo/turbo.py, read) steps down 999, 899, 799, 699 with Euler ancestral instead"
)
SWIFTBRUSH = (
    "infer.py of VinAIResearch/SwiftBrush (v1), read: one network pass at t = 999, x0 from eps, no guidance; v2's "
    "paper samples alike"
)


def normal_cfg(n: int) -> Settings:
    cfg = 3.0 if n <= 4 else 4.5
    return fixed("PCM, normal guidance", n, cfg=cfg, cfg_range=(2.0, 9.0), source=PCM)


def lcm_lora(n: int) -> Settings:
    source = "model card latent-consistency/lcm-lora-sdxl, read: 2-8 steps, guidance off or 1-2"
    return Settings("LCM-LoRA", "lcm", "lcm", (2, 8), 4, cfg_range=(1.0, 2.0), source=source)


def tcd(n: int) -> Settings:
    source = (
        "the README of jabir-zheng/TCD, read: 4-8 steps, eta 0.3 (higher with more steps), no guidance, any number of "
        "steps; 50 as the upper end is not from it"
    )
    return Settings("TCD", "tcd", "lcm", (2, 50), 4, eta=0.3, source=source)


ROWS = (
    Row(
        "Hyper-SD with guidance",
        r"hyper-?sd\w*-(\d+)steps?-cfg",
        lambda n: fixed("Hyper-SD with guidance", n, cfg=5.0, cfg_range=(5.0, 8.0), source=HYPER_CFG),
        (8, 12),
    ),
    Row(
        "Hyper-SD unified",
        r"hyper-?sd\w*-1step-lora",
        lambda n: up_to_8("Hyper-SD unified", "tcd", eta=1.0, source=HYPER),
    ),
    Row("Hyper-SD", r"hyper-?sd\w*-(\d+)steps?-lora", lambda n: fixed("Hyper-SD", n, source=HYPER), (2, 4, 8)),
    Row(
        "SDXL-Lightning",
        r"sdxl_lightning_(\d)step",
        lambda n: fixed("SDXL-Lightning", n, source=LIGHTNING),
        (2, 4, 8),
    ),
    Row(
        "PCM, small guidance",
        r"pcm_\w+_smallcfg_(\d+)step",
        lambda n: fixed("PCM, small guidance", n, cfg_range=(1.0, 2.0), source=PCM),
        (2, 4, 8, 16),
    ),
    Row("PCM, normal guidance", r"pcm_\w+_normalcfg_(\d+)step", normal_cfg, (4, 8, 16)),
    Row("PCM, LCM-like", r"pcm_\w+_lcmlike", lambda n: up_to_8("PCM, LCM-like", "lcm", source=PCM)),
    Row("DMD2", r"dmd2_sdxl_4step_lora", lambda n: Settings("DMD2", "lcm", "trailing", (4, 4), 4, source=DMD2)),
    Row("LCM-LoRA", r"lcm.?lora|lcm_lora", lcm_lora),
    Row("TCD", r"(?:^|[^a-z])tcd(?:[^a-z]|$)", tcd),
    Row("SwiftBrush", r"swift_?brush|sbv2", lambda n: fixed("SwiftBrush", 1, source=SWIFTBRUSH)),
    Row(
        "SDXL-Turbo",
        r"sd_?xl_turbo",
        lambda n: Settings("SDXL-Turbo", "ddim", "trailing", (1, 4), 1, samplers=("euler_ancestral",), source=TURBO),
    ),
)
