"""Text to image with published few-step files, a workflow per family, written from one table.

Run it after changing the table (`python -m tools family_workflows`, then `python -m tools ui_format`): it writes
workflows/api/families/*.json. A test checks that they are current. The note in each says which files it wants, from
which model page, and the settings that the pack knows for them.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "workflows" / "api" / "families"
PROMPT = "a red fox sitting in fresh snow, golden hour, photograph"


class Graph(dict):
    """A workflow in the API format, built node by node."""

    def add(self, class_type: str, **inputs) -> str:
        """Add a node; returns its id."""
        key = str(len(self) + 1)
        self[key] = {"class_type": class_type, "inputs": inputs}
        return key


@dataclass(frozen=True)
class File:
    """A file of the user's: its folder under models/, its name, the model page it is from, and what to do with it."""

    folder: str
    name: str
    page: str
    hint: str = ""

    def __str__(self) -> str:
        return f"models/{self.folder}/{self.name}\n  from {self.page}" + (f" ({self.hint})" if self.hint else "")


@dataclass(frozen=True)
class Row:
    """A workflow: its name, its few-step files, the base's files, and how they are wired."""

    name: str
    files: tuple[File, ...]
    base: tuple[File, ...]
    build: Callable[["Row"], Graph]
    steps: int = 4
    strength: float = 1.0
    size: int = 1024
    upstream: bool = False  # its base needs nodes or text encoders that the embedded host does not have

    @property
    def file(self) -> File:
        return self.files[0]


def lora_loader(row: Row, graph: Graph, model: list, file: File, clip: list | None = None) -> str:
    inputs = {"model": model, "lora_name": file.name, "strength": row.strength, "steps": row.steps, "denoise": 1.0}
    return graph.add("FewStepLoadLora", **inputs, **({"clip": clip} if clip else {}), negative_prompt="")


def texts(graph: Graph, clip: list) -> tuple[list, list]:
    """(positive, negative)."""
    made = [graph.add("CLIPTextEncode", clip=clip, text=text) for text in (PROMPT, "")]
    return [made[0], 0], [made[1], 0]


def sampled(graph: Graph, positive: list, negative: list, latent: list, **inputs) -> list:
    """SamplerCustom; inputs: model, cfg, sampler, sigmas."""
    fixed = {"add_noise": True, "noise_seed": 1, "positive": positive, "negative": negative, "latent_image": latent}
    return [graph.add("SamplerCustom", **{**fixed, **inputs}), 0]


def saved(graph: Graph, row: Row, latent: list, vae: list) -> Graph:
    image = [graph.add("VAEDecode", samples=latent, vae=vae), 0]
    graph.add("SaveImage", images=image, filename_prefix=f"fewstep_{row.name}")
    return graph


def checkpoint_and_lora(row: Row, empty: str = "EmptyLatentImage") -> Graph:
    """A checkpoint with a few-step LoRA on it."""
    graph = Graph()
    base = graph.add("CheckpointLoaderSimple", ckpt_name=row.base[0].name)
    lora = lora_loader(row, graph, [base, 0], row.file, [base, 1])
    positive, negative = texts(graph, [lora, 1])
    latent = [graph.add(empty, width=row.size, height=row.size, batch_size=1), 0]
    parts = {"model": [lora, 0], "sampler": [lora, 2], "sigmas": [lora, 3], "cfg": [lora, 4]}
    return saved(graph, row, sampled(graph, positive, negative, latent, **parts), [base, 2])


def sd3_and_lora(row: Row) -> Graph:
    return checkpoint_and_lora(row, "EmptySD3LatentImage")


def whole_model(row: Row) -> Graph:
    """A few-step checkpoint, or a few-step U-Net beside a base's CLIP and VAE."""
    graph = Graph()
    options = {"denoise": 1.0, "guidance": 8.0, "family": "auto", "allow_partial": False}
    model = graph.add("FewStepLoadModel", model_name=row.file.name, steps=row.steps, **options)
    clip, vae = [model, 1], [model, 2]
    if row.base:
        base = graph.add("CheckpointLoaderSimple", ckpt_name=row.base[0].name)
        clip, vae = [base, 1], [base, 2]
    positive, negative = texts(graph, clip)
    latent = [graph.add("EmptyLatentImage", width=row.size, height=row.size, batch_size=1), 0]
    parts = {"model": [model, 0], "sampler": [model, 3], "sigmas": [model, 4], "cfg": [model, 5]}
    return saved(graph, row, sampled(graph, positive, negative, latent, **parts), vae)


def flux(row: Row) -> Graph:
    """Flux dev in parts, with its own guidance and the shift of the picture's size."""
    graph, size = Graph(), {"width": row.size, "height": row.size}
    unet, clip_l, t5, vae_file = row.base
    base = graph.add("UNETLoader", unet_name=unet.name, weight_dtype="default")
    clip = graph.add("DualCLIPLoader", clip_name1=clip_l.name, clip_name2=t5.name, type="flux")
    vae = graph.add("VAELoader", vae_name=vae_file.name)
    shifted = graph.add("ModelSamplingFlux", model=[base, 0], max_shift=1.15, base_shift=0.5, **size)
    lora = lora_loader(row, graph, [shifted, 0], row.file)
    positive, negative = texts(graph, [clip, 0])
    guided = [graph.add("FluxGuidance", conditioning=positive, guidance=3.5), 0]
    latent = [graph.add("EmptySD3LatentImage", **size, batch_size=1), 0]
    parts = {"model": [lora, 0], "sampler": [lora, 2], "sigmas": [lora, 3], "cfg": [lora, 4]}
    return saved(graph, row, sampled(graph, guided, negative, latent, **parts), [vae, 0])


def qwen(row: Row) -> Graph:
    """Qwen-Image in parts; the loader's sigmas hold the shift already."""
    graph = Graph()
    unet, text, vae_file = row.base
    base = graph.add("UNETLoader", unet_name=unet.name, weight_dtype="default")
    clip = graph.add("CLIPLoader", clip_name=text.name, type="qwen_image")
    vae = graph.add("VAELoader", vae_name=vae_file.name)
    lora = lora_loader(row, graph, [base, 0], row.file)
    positive, negative = texts(graph, [clip, 0])
    latent = [graph.add("EmptySD3LatentImage", width=row.size, height=row.size, batch_size=1), 0]
    parts = {"model": [lora, 0], "sampler": [lora, 2], "sigmas": [lora, 3], "cfg": [lora, 4]}
    return saved(graph, row, sampled(graph, positive, negative, latent, **parts), [vae, 0])


def wan(row: Row) -> Graph:
    """Wan 2.2's two experts, each with its LoRA and its half of the sigmas: high noise first, then low noise."""
    graph, loras = Graph(), []
    *unets, text, vae_file = row.base
    clip = graph.add("CLIPLoader", clip_name=text.name, type="wan")
    vae = graph.add("VAELoader", vae_name=vae_file.name)
    for unet, file in zip(unets, row.files):
        base = graph.add("UNETLoader", unet_name=unet.name, weight_dtype="default")
        loras.append(lora_loader(row, graph, [base, 0], file))
    positive, negative = texts(graph, [clip, 0])
    latent = [graph.add("EmptyHunyuanLatentVideo", width=row.size, height=row.size, length=81, batch_size=1), 0]
    for i, lora in enumerate(loras):
        parts = {"model": [lora, 0], "sampler": [lora, 2], "sigmas": [lora, 3], "cfg": [lora, 4], "add_noise": i == 0}
        latent = sampled(graph, positive, negative, latent, **parts)
    frames = [graph.add("VAEDecode", samples=latent, vae=[vae, 0]), 0]
    video = {"fps": 16.0, "lossless": False, "quality": 80, "method": "default"}
    graph.add("SaveAnimatedWEBP", images=frames, filename_prefix=f"fewstep_{row.name}", **video)
    return graph


def checkpoint(name: str, page: str, hint: str = "") -> File:
    return File("checkpoints", name, page, hint)


def lora(name: str, page: str, hint: str = "") -> File:
    return File("loras", name, page, hint)


def unet(name: str, page: str, hint: str = "") -> File:
    return File("diffusion_models", name, page, hint)


HYPER, LIGHTNING, DMD2 = "ByteDance/Hyper-SD", "ByteDance/SDXL-Lightning", "tianweiy/DMD2"
QWEN, WAN, FLUX = "Comfy-Org/Qwen-Image_ComfyUI", "Comfy-Org/Wan_2.2_ComfyUI_Repackaged", "black-forest-labs/FLUX.1-dev"
LIGHTX2V = "wan2.2_t2v_lightx2v_4steps_lora_v1.1"
RENAME = "there pytorch_lora_weights.safetensors: rename it"
PICKLE = "there a .bin: load it in diffusers and save it again as .safetensors"
SDXL = (checkpoint("sd_xl_base_1.0.safetensors", "stabilityai/stable-diffusion-xl-base-1.0"),)
SD15 = (checkpoint("v1-5-pruned-emaonly.safetensors", "stable-diffusion-v1-5/stable-diffusion-v1-5"),)
SD3 = (checkpoint("sd3_medium_incl_clips_t5xxlfp8.safetensors", "stabilityai/stable-diffusion-3-medium"),)
FLUX_PARTS = (
    unet("flux1-dev.safetensors", FLUX),
    File("text_encoders", "clip_l.safetensors", "comfyanonymous/flux_text_encoders"),
    File("text_encoders", "t5xxl_fp8_e4m3fn.safetensors", "comfyanonymous/flux_text_encoders"),
    File("vae", "ae.safetensors", FLUX),
)
QWEN_PARTS = (
    unet("qwen_image_fp8_e4m3fn.safetensors", QWEN),
    File("text_encoders", "qwen_2.5_vl_7b_fp8_scaled.safetensors", QWEN),
    File("vae", "qwen_image_vae.safetensors", QWEN),
)
WAN_PARTS = (
    unet("wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors", WAN),
    unet("wan2.2_t2v_low_noise_14B_fp8_scaled.safetensors", WAN),
    File("text_encoders", "umt5_xxl_fp8_e4m3fn_scaled.safetensors", WAN),
    File("vae", "wan_2.1_vae.safetensors", WAN),
)


def sdxl_lora(name: str, file: str, page: str, steps: int = 4, hint: str = "") -> Row:
    return Row(f"sdxl_{name}", (lora(file, page, hint),), SDXL, checkpoint_and_lora, steps)


def sd15_lora(name: str, file: str, page: str, steps: int = 4, hint: str = "") -> Row:
    return Row(f"sd15_{name}", (lora(file, page, hint),), SD15, checkpoint_and_lora, steps, size=512)


ROWS = (
    sdxl_lora("lcm_lora", "lcm-lora-sdxl.safetensors", "latent-consistency/lcm-lora-sdxl", hint=RENAME),
    sdxl_lora("hyper_unified", "Hyper-SDXL-1step-lora.safetensors", HYPER),
    sdxl_lora("hyper_n_steps", "Hyper-SDXL-4steps-lora.safetensors", HYPER),
    sdxl_lora("hyper_guidance", "Hyper-SDXL-8steps-CFG-lora.safetensors", HYPER, 8),
    sdxl_lora("lightning_lora", "sdxl_lightning_4step_lora.safetensors", LIGHTNING),
    sdxl_lora("pcm_lora", "pcm_sdxl_smallcfg_4step_converted.safetensors", "wangfuyun/PCM_Weights", hint="folder sdxl"),
    sdxl_lora("dmd2_lora", "dmd2_sdxl_4step_lora_fp16.safetensors", DMD2),
    Row(
        "sdxl_hyper_1_step_model",
        (checkpoint("Hyper-SDXL-1step-Unet-Comfyui.fp16.safetensors", HYPER),),
        (),
        whole_model,
        1,
    ),
    Row("sdxl_lightning_model", (checkpoint("sdxl_lightning_4step.safetensors", LIGHTNING),), (), whole_model),
    Row("sdxl_dmd2_1_step_unet", (unet("dmd2_sdxl_1step_unet_fp16.safetensors", DMD2, PICKLE),), SDXL, whole_model, 1),
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
        (checkpoint("sd_xl_turbo_1.0_fp16.safetensors", "stabilityai/sdxl-turbo"),),
        (),
        whole_model,
        1,
        size=512,
    ),
    sd15_lora("lcm_lora", "lcm-lora-sdv1-5.safetensors", "latent-consistency/lcm-lora-sdv1-5", hint=RENAME),
    sd15_lora("hyper_unified", "Hyper-SD15-1step-lora.safetensors", HYPER),
    sd15_lora("hyper_n_steps", "Hyper-SD15-4steps-lora.safetensors", HYPER),
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
        (lora("Qwen-Image-Lightning-8steps-V1.0.safetensors", "lightx2v/Qwen-Image-Lightning"),),
        QWEN_PARTS,
        qwen,
        8,
        size=1328,
        upstream=True,
    ),
    Row(
        "wan22_lightx2v",
        tuple(lora(f"{LIGHTX2V}_{half}_noise.safetensors", WAN) for half in ("high", "low")),
        WAN_PARTS,
        wan,
        size=640,
        upstream=True,
    ),
)
UPSTREAM = {row.name for row in ROWS if row.upstream}


def settings_of(file: File):
    """What the pack knows of a few-step file by its name."""
    from fewstep.weights import families
    from fewstep.weights.families import models

    if file.folder == "loras":
        return families.from_name(file.name)
    hits = ((row, re.search(row.pattern, file.name.lower())) for row in models.ROWS)
    row, hit = next(pair for pair in hits if pair[1])
    return row.make(int(hit[1]) if hit.re.groups else 0)


def settings_lines(row: Row, file: File) -> list[str]:
    """The same that the loader's report says."""
    from fewstep.samplers.schedule import SCHEDULES

    known = settings_of(file)
    steps = str(row.steps)
    points = known.sigmas.get(steps) or known.timesteps.get(steps) or SCHEDULES[known.schedule](row.steps, 1.0)
    what = "sigmas" if known.sigmas else "timesteps"
    eta = f", eta {known.eta:g}" if known.sampler == "tcd" else ""
    strength = f", strength {known.strength:g}" if file.folder == "loras" else ""
    return [
        f"{known.family}: sampler {known.sampler}{eta}, cfg {known.cfg:g}{strength}",
        f"  {what} {', '.join(f'{point:.4g}' for point in points)}",
        *([f"  {known.note}"] if known.note else []),
        f"  source: {known.source}",
    ]


def note(row: Row) -> str:
    loader = "FewStep Load LoRA" if row.file.folder == "loras" else "FewStep Load Model"
    lines = ["Files (get them from their model pages)", *map(str, (*row.files, *row.base)), ""]
    lines += [f"Settings ({loader} knows them by the file's name; its report says the same)"]
    for file in row.files:
        lines += settings_lines(row, file)
    if row.file.name == "lcm_sdxl_unet.safetensors":
        lines += ["", "This model hears its guidance as an embedding: the widget guidance, not cfg."]
    if any(f.folder in ("diffusion_models", "text_encoders") for f in (*row.files, *row.base)):
        lines += ["", "In old versions of ComfyUI diffusion_models is called unet, and text_encoders clip."]
    return "\n".join(lines)


def workflow(row: Row) -> dict:
    """The row's graph, its note at the first node (the host ignores _meta; ui_format.py makes it a Note)."""
    graph = row.build(row)
    graph["1"]["_meta"] = {"note": note(row)}
    return dict(graph)


def text_of(workflow: dict) -> str:
    """A node a line, as the other API workflows are written."""
    lines = [f"  {json.dumps(key)}: {json.dumps(node)}" for key, node in workflow.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for row in ROWS:
        (FOLDER / f"{row.name}.json").write_text(text_of(workflow(row)), encoding="utf-8")
