"""Files in place of the published ones (same names, sizes of the tiny SDXL or the tiny base), and an SD2.x; random."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

UNET = "model.diffusion_model."
RANK = 4
ASSETS = Path(__file__).resolve().parents[2] / "assets"


def randomised(state: dict, seed: int) -> dict:
    """Weights that keep the variance of what passes: N(0, 1 / fan_in), norms 1, biases 0; fp16."""
    generator = torch.Generator().manual_seed(seed)
    made = {}
    for name, value in state.items():
        tensor = torch.zeros(value.shape) if name.endswith("bias") else torch.ones(value.shape)
        if value.ndim > 1:
            tensor = torch.randn(value.shape, generator=generator) / value[0].numel() ** 0.5
        made[name] = tensor.half()
    return made


def random_lora(model, seed: int) -> dict:
    """A LoRA in kohya's form on every layer that LCM-LoRA adapts."""
    from fewstep.host.training import layers

    generator, names = torch.Generator().manual_seed(seed), layers.lora_names(model)
    weights, made = model.model.diffusion_model.state_dict(), {}
    for target in layers.lora_targets(model):
        weight, key = weights[f"{target}.weight"], "lora_unet_" + names[target].replace(".", "_")
        tail = weight.shape[2:]
        down = torch.randn((RANK, weight.shape[1], *tail), generator=generator) / weight[0].numel() ** 0.5
        up = torch.randn((weight.shape[0], RANK, *(1 for _ in tail)), generator=generator) / RANK**0.5
        made |= {f"{key}.lora_down.weight": down.half(), f"{key}.lora_up.weight": 0.3 * up.half()}
        made[f"{key}.alpha"] = torch.tensor(float(RANK))
    return made


def write_sd2(target: Path, model) -> None:
    """A checkpoint with the weights of that small MODEL of SD2.x's, and the tiny base's text encoder and VAE."""
    base = load_file(ASSETS / "checkpoints" / "fewstep-tiny-sd.safetensors")
    rest = {name: value for name, value in base.items() if not name.startswith(UNET)}
    unet = {UNET + name: value.half() for name, value in model.model.diffusion_model.state_dict().items()}
    target.parent.mkdir(parents=True, exist_ok=True)
    save_file({**rest, **unet}, target)


def write(models: Path, rows: list) -> None:
    """Write each row's files under models/; rows: of tools/family_workflows, for SDXL and SD1.5."""
    from fewstep.tests.helpers.small_models import random_sdxl

    model, base = random_sdxl(), load_file(ASSETS / "checkpoints" / "fewstep-tiny-sd.safetensors")
    unet = randomised(model.model.diffusion_model.state_dict(), 0)
    rest = {name: value for name, value in base.items() if not name.startswith(UNET)}
    sdxl = {**rest, **{UNET + name: value for name, value in unet.items()}}
    projection = {"time_embed.cond_proj.weight": torch.randn(unet["time_embed.0.weight"].shape[1], 256)}
    kinds = {
        "sdxl_checkpoints": sdxl,
        "sdxl_diffusion_models": unet,
        "sdxl_loras": random_lora(model, 1),
        "sd15_checkpoints": base,
        "sd15_loras": load_file(ASSETS / "loras" / "fewstep-tiny-sd-lcm-lora.safetensors"),
    }
    for row in rows:
        for file in (*row.files, *row.base):
            folder = "unet" if file.folder == "diffusion_models" else file.folder  # every host knows this name
            tensors = kinds[f"{row.name.partition('_')[0]}_{file.folder}"]
            target = models / folder / file.name
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                save_file({**tensors, **(projection if file.name.startswith("lcm_sdxl") else {})}, target)
