"""Small random models of the host's own classes, in this process: every base that the host at hand knows.

The embedded host is used where it is installed; else COMFYUI_DIR, so that in an environment of an upstream checkout
`python -m pytest tests/inprocess/test_transformers.py` meets Flux, Wan, Qwen-Image and LTX too.
"""

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest
import torch

UNET = {
    "image_size": 32, "in_channels": 4, "out_channels": 4, "model_channels": 32, "num_res_blocks": [1, 1, 1],
    "channel_mult": [1, 2, 4], "transformer_depth": [1, 1, 0], "transformer_depth_middle": 1,
    "transformer_depth_output": [1, 1, 1, 1, 0, 0], "use_spatial_transformer": True, "legacy": False,
    "use_linear_in_transformer": True, "num_head_channels": 16, "num_heads": -1, "adm_in_channels": None,
    "use_temporal_attention": False, "dtype": torch.float32,
}  # fmt: skip
XL = {
    **UNET, "context_dim": 2048, "num_classes": "sequential", "adm_in_channels": 2816,
    "transformer_depth": [0, 1, 1], "transformer_depth_output": [0, 0, 1, 1, 1, 1],
}  # fmt: skip
CONFIGS = {
    "SD1.5": ("SD15", {**UNET, "context_dim": 768, "use_linear_in_transformer": False}),
    "SD2.x": ("SD20", {**UNET, "context_dim": 1024}),
    "SDXL": ("SDXL", XL),
    "SSD-1B": (
        "SSD1B",
        {
            **XL, "num_res_blocks": [2, 2, 2], "transformer_depth": [0, 0, 2, 2, 4, 4], "transformer_depth_middle": -1,
            "transformer_depth_output": [0, 0, 0, 1, 1, 2, 10, 4, 4],
        },
    ),
    "SD3": (
        "SD3",
        {
            "in_channels": 16, "out_channels": 16, "patch_size": 2, "depth": 2, "input_size": None,
            "adm_in_channels": 32, "num_patches": 64, "pos_embed_max_size": 8, "pos_embed_scaling_factor": None,
            "context_embedder_config": {
                "target": "torch.nn.Linear", "params": {"in_features": 32, "out_features": 128},
            },
            "dtype": torch.float32,
        },
    ),
    "Flux": (
        "Flux",
        {
            "image_model": "flux", "in_channels": 16, "out_channels": 16, "vec_in_dim": 32, "context_in_dim": 32,
            "hidden_size": 64, "num_heads": 2, "mlp_ratio": 4.0, "depth": 2, "depth_single_blocks": 2,
            "axes_dim": [8, 12, 12], "theta": 10000, "patch_size": 2, "qkv_bias": True, "guidance_embed": True,
            "txt_ids_dims": [], "dtype": torch.float32,
        },
    ),
    "Wan": (
        "WAN21_T2V",
        {
            "image_model": "wan2.1", "model_type": "t2v", "dim": 64, "ffn_dim": 128, "num_heads": 2, "num_layers": 2,
            "text_dim": 32, "freq_dim": 32, "in_dim": 16, "out_dim": 16, "dtype": torch.float32,
        },
    ),
    "Qwen-Image": (
        "QwenImage",
        {
            "image_model": "qwen_image", "num_layers": 2, "attention_head_dim": 32, "num_attention_heads": 2,
            "joint_attention_dim": 32, "axes_dims_rope": (8, 12, 12), "dtype": torch.float32,
        },
    ),
    "Z-Image": (
        "ZImage",
        {
            "image_model": "lumina2", "patch_size": 2, "in_channels": 16, "dim": 256, "cap_feat_dim": 32, "n_layers": 2,
            "n_refiner_layers": 2, "n_heads": 8, "n_kv_heads": 8, "axes_dims": [8, 12, 12], "axes_lens": [512, 64, 64],
            "rope_theta": 256.0, "ffn_dim_multiplier": 8 / 3, "qk_norm": True, "z_image_modulation": True,
            "time_scale": 1000.0, "pad_tokens_multiple": 32, "dtype": torch.float32,
        },
    ),
    "FLUX.2": (
        "Flux2",
        {
            "image_model": "flux2", "in_channels": 128, "out_channels": 128, "vec_in_dim": None, "context_in_dim": 32,
            "hidden_size": 64, "num_heads": 2, "mlp_ratio": 3.0, "depth": 2, "depth_single_blocks": 2,
            "axes_dim": [8, 8, 8, 8], "theta": 2000, "patch_size": 1, "qkv_bias": False, "guidance_embed": False,
            "txt_ids_dims": [3], "global_modulation": True, "mlp_silu_act": True, "ops_bias": False,
            "default_ref_method": "index", "ref_index_scale": 10.0, "dtype": torch.float32,
        },
    ),
    "Wan 2.2 5B": (
        "WAN22_T2V",
        {
            "image_model": "wan2.1", "model_type": "t2v", "dim": 64, "ffn_dim": 128, "num_heads": 2, "num_layers": 2,
            "text_dim": 32, "freq_dim": 32, "in_dim": 48, "out_dim": 48, "dtype": torch.float32,
        },
    ),
    "Anima": (
        "Anima",
        {
            "image_model": "anima", "max_img_h": 240, "max_img_w": 240, "max_frames": 128, "in_channels": 16,
            "out_channels": 16, "patch_spatial": 2, "patch_temporal": 1, "model_channels": 64, "num_blocks": 2,
            "num_heads": 2, "crossattn_emb_channels": 32, "concat_padding_mask": True, "pos_emb_cls": "rope3d",
            "use_adaln_lora": True, "adaln_lora_dim": 16, "dtype": torch.float32,
        },
    ),
    "LTX-Video": (
        "LTXV",
        {
            "image_model": "ltxv", "num_layers": 2, "attention_head_dim": 16, "num_attention_heads": 4,
            "cross_attention_dim": 64, "caption_channels": 32, "dtype": torch.float32,
        },
    ),
}  # fmt: skip


def start(folder) -> None:
    """`import comfy` works afterwards: the embedded host, else COMFYUI_DIR; the test is skipped without either."""
    embedded = importlib.util.find_spec("comfy") is not None
    if not embedded and not os.environ.get("COMFYUI_DIR"):
        pytest.skip("the embedded host is not installed here, and COMFYUI_DIR names no other")
    with pytest.MonkeyPatch.context() as patch:
        if embedded:
            patch.delenv("COMFYUI_DIR", raising=False)
        from fewstep.host import headless

        headless.start(workdir=folder)


def make(base: str, **changes):
    """A MODEL of that base with random weights; None where this host has no such class. changes: to its options."""
    import comfy.supported_models as supported
    from comfy.model_patcher import ModelPatcher

    name, options = CONFIGS[base]
    kind = getattr(supported, name, None)
    if kind is None:
        return None
    config = kind(known_options(name, {**options, **changes}))
    torch.manual_seed(0)
    with torch.inference_mode(), small_adapter(name):
        model = config.get_model({}, "")
        for weight in (*model.diffusion_model.parameters(), *model.diffusion_model.buffers()):
            torch.nn.init.normal_(weight, std=0.15 if base == "Anima" else 0.05)
        for key, weight in model.diffusion_model.named_parameters():
            if base == "Anima" and key.endswith("norm.weight"):  # around 0 they and its gates would let no text through
                weight += 1
    return ModelPatcher(model, load_device=torch.device("cpu"), offload_device=torch.device("cpu"))


@contextmanager
def small_adapter(name: str) -> Iterator[None]:
    """Anima's adapter, whose sizes no option names, in the width of the small models' text."""
    if name != "Anima":
        yield
        return
    from comfy.ldm.anima import model

    sizes = {"source_dim": 32, "target_dim": 32, "model_dim": 32, "num_layers": 1, "num_heads": 2}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "LLMAdapter", partial(model.LLMAdapter, **sizes))
        yield


def random_sdxl():
    """A MODEL of SDXL's class and layout with few channels and random weights."""
    return make("SDXL")


def known_options(name: str, options: dict) -> dict:
    """Without what an older host's Flux does not take."""
    if name != "Flux":
        return dict(options)
    from comfy.ldm.flux.model import FluxParams

    return {
        key: o for key, o in options.items() if key in ("image_model", "dtype") or key in FluxParams.__annotations__
    }


def patched_weights(model, tensors: dict) -> dict[str, torch.Tensor]:
    """The host's own arithmetic on every weight that a file (in kohya's form) reaches."""
    import comfy.lora
    from fewstep.host.loading import loras

    patched = loras.apply(model, None, loras.fitted(model, tensors), 1.0)[0]
    weights = model.model.state_dict()
    calculate = getattr(comfy.lora, "calculate_weight", None) or patched.calculate_weight
    with torch.inference_mode():
        return {key: calculate(found, weights[key].clone(), key) for key, found in patched.patches.items()}
