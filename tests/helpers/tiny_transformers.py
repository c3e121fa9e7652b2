"""A small random SD3 and Flux under the published names, for newer hosts, which tell their sizes from the tensors.

The text encoder is the tiny base's (the host fixes the width of T5), the VAE its own with 16 channels in place of 4.
"""

from pathlib import Path

import torch
from fewstep.tests.helpers.transformer_files import FORMS, MODULES, factors, file_of
from fewstep.tools.family_workflows import Row
from safetensors.torch import load_file, save_file

from .tiny_files import ASSETS, randomised

TINY = "fewstep-tiny-sd.safetensors"
WIDTH, TEXT, DEPTH = 128, 64, 2
PATCH = 2 * 2 * 16  # numbers of a latent's patch
FAMILIES = {"sd3": "SD3", "flux": "Flux"}  # by the beginning of a row's name
SINCE = {"sd3": "FluxGuidance", "flux": "EmptyFlux2LatentImage"}  # nodes of the hosts that read such small files


def layers(sizes: dict[str, tuple[int, int]]) -> dict[str, tuple[int, ...]]:
    """{name: (out, in)} as {name.weight: (out, in), name.bias: (out,)}."""
    return {f"{name}.{part}": shape for name, s in sizes.items() for part, shape in (("weight", s), ("bias", s[:1]))}


def embedder(name: str, first: str, second: str, width: int) -> dict[str, tuple[int, int]]:
    return {f"{name}.{first}": (WIDTH, width), f"{name}.{second}": (WIDTH, WIDTH)}


def sd3() -> dict[str, tuple[int, ...]]:
    """{weight of the host's MMDiT: its shape}; the last block's context goes nowhere."""
    found = {"context_embedder": (WIDTH, TEXT), "final_layer.linear": (PATCH, WIDTH)}
    found |= {"final_layer.adaLN_modulation.1": (2 * WIDTH, WIDTH)}
    found |= embedder("t_embedder", "mlp.0", "mlp.2", 256) | embedder("y_embedder", "mlp.0", "mlp.2", TEXT)
    for i in range(DEPTH):
        for side in ("x_block", "context_block"):
            last, block = i == DEPTH - 1 and side == "context_block", f"joint_blocks.{i}.{side}"
            found[f"{block}.attn.qkv"] = (3 * WIDTH, WIDTH)
            found[f"{block}.adaLN_modulation.1"] = ((2 if last else 6) * WIDTH, WIDTH)
            if not last:
                found |= {f"{block}.attn.proj": (WIDTH, WIDTH), f"{block}.mlp.fc1": (4 * WIDTH, WIDTH)}
                found[f"{block}.mlp.fc2"] = (WIDTH, 4 * WIDTH)
    embedding = {"x_embedder.proj.weight": (WIDTH, 16, 2, 2), "x_embedder.proj.bias": (WIDTH,)}
    return {**layers(found), **embedding, "pos_embed": (1, 64, WIDTH)}


def flux() -> dict[str, tuple[int, ...]]:
    """{weight of the host's Flux: its shape}: one head of 128, two blocks of each kind."""
    found = {"img_in": (WIDTH, PATCH), "txt_in": (WIDTH, TEXT), "final_layer.linear": (PATCH, WIDTH)}
    found |= {"final_layer.adaLN_modulation.1": (2 * WIDTH, WIDTH)}
    for name, width in (("time_in", 256), ("guidance_in", 256), ("vector_in", TEXT)):
        found |= embedder(name, "in_layer", "out_layer", width)
    norms = []
    for i in range(DEPTH):
        for side in ("img", "txt"):
            block = f"double_blocks.{i}.{side}"
            found |= {f"{block}_mod.lin": (6 * WIDTH, WIDTH), f"{block}_attn.qkv": (3 * WIDTH, WIDTH)}
            found |= {f"{block}_attn.proj": (WIDTH, WIDTH), f"{block}_mlp.0": (4 * WIDTH, WIDTH)}
            found[f"{block}_mlp.2"] = (WIDTH, 4 * WIDTH)
            norms.append(f"{block}_attn.norm")
        block = f"single_blocks.{i}"
        found |= {f"{block}.linear1": (7 * WIDTH, WIDTH), f"{block}.linear2": (WIDTH, 5 * WIDTH)}
        found[f"{block}.modulation.lin"] = (3 * WIDTH, WIDTH)
        norms.append(f"{block}.norm")
    scales = {f"{norm}.{side}_norm.scale": (WIDTH,) for norm in norms for side in ("query", "key")}
    return {**layers(found), **scales}


SHAPES = {"SD3": sd3, "Flux": flux}


def vae() -> dict[str, torch.Tensor]:
    """The tiny base's VAE behind 16 channels: each of its 4 is the mean of four."""
    prefix = "first_stage_model."
    found = {k.removeprefix(prefix): t for k, t in load_file(ASSETS / "checkpoints" / TINY).items() if prefix in k}
    found["taesd_decoder.1.weight"] = found["taesd_decoder.1.weight"].repeat(1, 4, 1, 1) / 4
    for part in ("weight", "bias"):
        last = found[f"taesd_encoder.14.{part}"]
        found[f"taesd_encoder.14.{part}"] = last.repeat(4, *(1 for _ in last.shape[1:]))
    return {name: tensor.contiguous() for name, tensor in found.items()}


def write(models: Path, row: Row) -> None:
    """The network as diffusion_models/small.safetensors, the LoRA as published, and the VAE, under models/."""
    family = FAMILIES[row.name.partition("_")[0]]
    network = randomised({name: torch.empty(shape) for name, shape in SHAPES[family]().items()}, 0)
    lora = file_of(factors(network, MODULES[family]), *FORMS[family][0], alpha=16 / row.strength)  # 4 up down
    files = {"diffusion_models": network, "vae": vae(), "loras": lora}
    names = {"diffusion_models": f"small_{row.name}.safetensors", "vae": "small.safetensors", "loras": row.file.name}
    for folder, tensors in files.items():
        (models / folder).mkdir(parents=True, exist_ok=True)
        save_file(tensors, models / folder / names[folder])


def with_small_parts(row: Row, workflow: dict, size: int) -> dict:
    """The row's graph at `size` pixels with its text encoder, VAE and network exchanged; all else as it stands."""
    parts = {"MODEL": ["small_model", 0], "CLIP": ["small_text", 1], "VAE": ["small_vae", 0]}
    given = {
        "CheckpointLoaderSimple": ("MODEL", "CLIP", "VAE"),
        "UNETLoader": ("MODEL",),
        "DualCLIPLoader": ("CLIP",),
        "VAELoader": ("VAE",),
    }
    loaders = {key: given[node["class_type"]] for key, node in workflow.items() if node["class_type"] in given}
    graph = {key: node for key, node in workflow.items() if key not in loaders}
    for node in graph.values():
        for name, value in node["inputs"].items():
            if isinstance(value, list) and value[0] in loaders:
                node["inputs"][name] = parts[loaders[value[0]][value[1]]]
            elif name in ("width", "height"):
                node["inputs"][name] = size
    small = {
        "small_model": ("UNETLoader", {"unet_name": f"small_{row.name}.safetensors", "weight_dtype": "default"}),
        "small_text": ("CheckpointLoaderSimple", {"ckpt_name": TINY}),
        "small_vae": ("VAELoader", {"vae_name": "small.safetensors"}),
    }
    return graph | {key: {"class_type": kind, "inputs": inputs} for key, (kind, inputs) in small.items()}
