"""A row per workflow: the few-step files, the base's files, where both are from."""

from .graphs import File, Row, checkpoint_and_lora, flux, qwen, sd3_and_lora, wan, whole_model


def checkpoint(name: str, page: str, hint: str = "", path: str = "") -> File:
    return File("checkpoints", name, page, hint, path)


def lora(name: str, page: str, hint: str = "", path: str = "") -> File:
    return File("loras", name, page, hint, path)


def unet(name: str, page: str, hint: str = "", path: str = "") -> File:
    return File("diffusion_models", name, page, hint, path)


def repackaged(folder: str, name: str, page: str) -> File:
    """A file on one of Comfy-Org's pages, which are laid out as the folders of models/."""
    return File(folder, name, page, path=f"split_files/{folder}/{name}")


HYPER, LIGHTNING, DMD2 = "ByteDance/Hyper-SD", "ByteDance/SDXL-Lightning", "tianweiy/DMD2"
QWEN, WAN, FLUX = "Comfy-Org/Qwen-Image_ComfyUI", "Comfy-Org/Wan_2.2_ComfyUI_Repackaged", "black-forest-labs/FLUX.1-dev"
LIGHTX2V = "wan2.2_t2v_lightx2v_4steps_lora_v1.1"
TURBO, QWEN_8 = "sd_xl_turbo_1.0_fp16.safetensors", "Qwen-Image-Lightning-8steps-V1.0.safetensors"
RENAME = "there pytorch_lora_weights.safetensors: rename it"
PICKLE = "there a .bin: load it in diffusers and save it again as .safetensors"
SDXL_FILE, SDXL_PAGE = "sd_xl_base_1.0.safetensors", "stabilityai/stable-diffusion-xl-base-1.0"
SDXL = (checkpoint(SDXL_FILE, SDXL_PAGE, path=SDXL_FILE),)
SD15 = (checkpoint("v1-5-pruned-emaonly.safetensors", "stable-diffusion-v1-5/stable-diffusion-v1-5"),)
SD3 = (checkpoint("sd3_medium_incl_clips_t5xxlfp8.safetensors", "stabilityai/stable-diffusion-3-medium"),)
FLUX_PARTS = (
    unet("flux1-dev.safetensors", FLUX),
    File("text_encoders", "clip_l.safetensors", "comfyanonymous/flux_text_encoders", path="clip_l.safetensors"),
    File("text_encoders", "t5xxl_fp8_e4m3fn.safetensors", "comfyanonymous/flux_text_encoders"),
    File("vae", "ae.safetensors", FLUX),
)
QWEN_PARTS = (
    repackaged("diffusion_models", "qwen_image_fp8_e4m3fn.safetensors", QWEN),
    repackaged("text_encoders", "qwen_2.5_vl_7b_fp8_scaled.safetensors", QWEN),
    repackaged("vae", "qwen_image_vae.safetensors", QWEN),
)
WAN_PARTS = (
    repackaged("diffusion_models", "wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors", WAN),
    repackaged("diffusion_models", "wan2.2_t2v_low_noise_14B_fp8_scaled.safetensors", WAN),
    File("text_encoders", "umt5_xxl_fp8_e4m3fn_scaled.safetensors", WAN),
    repackaged("vae", "wan_2.1_vae.safetensors", WAN),
)


def sdxl_lora(name: str, file: str, page: str, steps: int = 4, hint: str = "", shown: bool = True) -> Row:
    return Row(f"sdxl_{name}", (lora(file, page, hint),), SDXL, checkpoint_and_lora, steps, shown=shown)


def sd15_lora(name: str, file: str, page: str, steps: int = 4, hint: str = "", shown: bool = True) -> Row:
    return Row(f"sd15_{name}", (lora(file, page, hint),), SD15, checkpoint_and_lora, steps, size=512, shown=shown)


ROWS = (
    sdxl_lora("lcm_lora", "lcm-lora-sdxl.safetensors", "latent-consistency/lcm-lora-sdxl", hint=RENAME),
    sdxl_lora("hyper_unified", "Hyper-SDXL-1step-lora.safetensors", HYPER),
    sdxl_lora("hyper_n_steps", "Hyper-SDXL-4steps-lora.safetensors", HYPER, shown=False),
    sdxl_lora("hyper_guidance", "Hyper-SDXL-8steps-CFG-lora.safetensors", HYPER, 8, shown=False),
    sdxl_lora("lightning_lora", "sdxl_lightning_4step_lora.safetensors", LIGHTNING),
    sdxl_lora("pcm_lora", "pcm_sdxl_smallcfg_4step_converted.safetensors", "wangfuyun/PCM_Weights", hint="folder sdxl"),
    sdxl_lora("dmd2_lora", "dmd2_sdxl_4step_lora_fp16.safetensors", DMD2),
    Row(
        "sdxl_hyper_1_step_model",
        (checkpoint("Hyper-SDXL-1step-Unet-Comfyui.fp16.safetensors", HYPER),),
        (),
        whole_model,
        1,
        shown=False,
    ),
    Row(
        "sdxl_lightning_model",
        (checkpoint("sdxl_lightning_4step.safetensors", LIGHTNING),),
        (),
        whole_model,
        shown=False,
    ),
    Row(
        "sdxl_dmd2_1_step_unet",
        (unet("dmd2_sdxl_1step_unet_fp16.safetensors", DMD2, PICKLE),),
        SDXL,
        whole_model,
        1,
        shown=False,
    ),
    Row(
        "sdxl_lcm_unet",
        (
            unet(
                "lcm_sdxl_unet.safetensors",
                "latent-consistency/lcm-sdxl",
                "there diffusion_pytorch_model.fp16.safetensors: rename it",
            ),
        ),
        SDXL,
        whole_model,
    ),
    Row(
        "sdxl_turbo",
        (checkpoint(TURBO, "stabilityai/sdxl-turbo", path=TURBO),),
        (),
        whole_model,
        1,
        size=512,
    ),
    sd15_lora("lcm_lora", "lcm-lora-sdv1-5.safetensors", "latent-consistency/lcm-lora-sdv1-5", hint=RENAME),
    sd15_lora("hyper_unified", "Hyper-SD15-1step-lora.safetensors", HYPER, shown=False),
    sd15_lora("hyper_n_steps", "Hyper-SD15-4steps-lora.safetensors", HYPER, shown=False),
    Row("sd3_hyper_lora", (lora("Hyper-SD3-4steps-CFG-lora.safetensors", HYPER),), SD3, sd3_and_lora, 4, 0.125),
    Row(
        "flux_hyper_lora",
        (lora("Hyper-FLUX.1-dev-8steps-lora.safetensors", HYPER),),
        FLUX_PARTS,
        flux,
        8,
        0.125,
        upstream=True,
    ),
    Row(
        "qwen_image_lightning",
        (lora(QWEN_8, "lightx2v/Qwen-Image-Lightning", path=QWEN_8),),
        QWEN_PARTS,
        qwen,
        8,
        size=1328,
        upstream=True,
    ),
    Row(
        "wan22_lightx2v",
        tuple(repackaged("loras", f"{LIGHTX2V}_{half}_noise.safetensors", WAN) for half in ("high", "low")),
        WAN_PARTS,
        wan,
        size=640,
        upstream=True,
    ),
)
SHOWN = [row.name for row in ROWS if row.shown]
UPSTREAM = {row.name for row in ROWS if row.upstream}
MODELS = {file.name: file.model for row in ROWS for file in (*row.files, *row.base) if file.path}
