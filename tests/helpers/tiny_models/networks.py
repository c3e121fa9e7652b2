"""Small random networks of newer families: a node that writes one as a file, and the numbers the host reads it by.

The host recognises each by the names in the file. What it then takes as published, such as the width of a head or of
the text, is read from here where the file's width is no published one.
"""

from functools import partial
from pathlib import Path

import comfy.model_detection as detection
import comfy.supported_models as supported
import torch
from safetensors.torch import save_file

TEXT = 64  # the width of the tiny base's text, which these networks read
WAN = {
    "image_model": "wan2.1", "model_type": "t2v", "dim": 128, "ffn_dim": 256, "num_heads": 1, "num_layers": 2,
    "text_dim": TEXT, "freq_dim": 256,
}  # fmt: skip
CONFIGS = {  # base: (the host's class, its options)
    "Qwen-Image": (
        "QwenImage",
        {
            "image_model": "qwen_image", "in_channels": 64, "num_layers": 2, "attention_head_dim": 32,
            "num_attention_heads": 2, "joint_attention_dim": TEXT, "axes_dims_rope": (8, 12, 12),
        },
    ),
    "Z-Image": (
        "ZImage",
        {
            "image_model": "lumina2", "patch_size": 2, "in_channels": 16, "dim": 256, "cap_feat_dim": TEXT,
            "n_layers": 2, "n_heads": 8, "n_kv_heads": 8, "axes_dims": [8, 12, 12], "axes_lens": [512, 64, 64],
            "rope_theta": 256.0, "ffn_dim_multiplier": 8 / 3, "qk_norm": True, "z_image_modulation": True,
            "time_scale": 1000.0, "pad_tokens_multiple": 32,
        },
    ),
    "FLUX.2": (
        "Flux2",
        {
            "image_model": "flux2", "in_channels": 128, "out_channels": 128, "vec_in_dim": None,
            "context_in_dim": TEXT, "hidden_size": 128, "num_heads": 1, "mlp_ratio": 3.0, "depth": 2,
            "depth_single_blocks": 2, "axes_dim": [32, 32, 32, 32], "theta": 2000, "patch_size": 1, "qkv_bias": False,
            "guidance_embed": False, "txt_ids_dims": [3], "global_modulation": True, "mlp_silu_act": True,
            "ops_bias": False, "default_ref_method": "index", "ref_index_scale": 10.0,
        },
    ),
    "Anima": (
        "Anima",
        {
            "image_model": "anima", "max_img_h": 240, "max_img_w": 240, "max_frames": 128, "in_channels": 16,
            "out_channels": 16, "patch_spatial": 2, "patch_temporal": 1, "model_channels": 128, "num_blocks": 2,
            "num_heads": 2, "crossattn_emb_channels": TEXT, "concat_padding_mask": True, "pos_emb_cls": "rope3d",
            "use_adaln_lora": True, "adaln_lora_dim": 16, "rope_h_extrapolation_ratio": 4.0,
            "rope_w_extrapolation_ratio": 4.0,
        },
    ),
    "Wan": ("WAN21_T2V", {**WAN, "in_dim": 16, "out_dim": 16}),
    "Wan 2.2 5B": ("WAN22_T2V", {**WAN, "in_dim": 48, "out_dim": 48}),
}  # fmt: skip
ADAPTER = {"source_dim": TEXT, "target_dim": TEXT, "model_dim": TEXT, "num_layers": 1, "num_heads": 2}  # Anima's
WIDTH = {
    "qwen_image": "img_in.weight", "lumina2": "x_embedder.weight", "wan2.1": "patch_embedding.weight",
    "anima": "x_embedder.proj.1.weight",
}  # fmt: skip
PUBLISHED = (1536, 2048, 2304, 3072, 3840, 5120)


def small(config: dict) -> dict:
    """What is not told by the file of a small network of that image_model."""
    known = next(options for _, options in CONFIGS.values() if options["image_model"] == config["image_model"])
    return {name: value for name, value in known.items() if name not in ("in_dim", "out_dim")}


def install() -> None:
    """Let the host read the small files; Z-Image it tells from Lumina 2 by its width."""
    read = detection.detect_unet_config

    def detect(state_dict, key_prefix, *args, **options):
        config = read(state_dict, key_prefix, *args, **options)
        weight = state_dict.get(key_prefix + WIDTH.get((config or {}).get("image_model"), ""))
        if weight is None or weight.shape[0] in PUBLISHED:
            return config
        return config | small(config)

    detection.detect_unet_config = detect
    if hasattr(supported, "ZImage"):
        width = {"image_model": "lumina2", "dim": CONFIGS["Z-Image"][1]["dim"]}
        supported.models.insert(0, type("SmallZImage", (supported.ZImage,), {"unet_config": width}))
    if hasattr(supported, "Anima"):
        from comfy.ldm.anima import model

        model.LLMAdapter = partial(model.LLMAdapter, **ADAPTER)


class SmallNetwork:
    """Writes diffusion_models/<base>.safetensors where this host has the class; says whether it has."""

    CATEGORY, FUNCTION, OUTPUT_NODE, RETURN_TYPES = "FewStep/tests", "write", True, ()

    @classmethod
    def INPUT_TYPES(cls) -> dict:
        return {"required": {"base": (list(CONFIGS), {})}}

    def write(self, base: str) -> dict:
        import folder_paths  # a server's; the embedded host in this process has it elsewhere

        name, options = CONFIGS[base]
        kind = getattr(supported, name, None)
        if kind is None:
            return {"ui": {"text": ["absent"]}}
        torch.manual_seed(0)
        network = kind({**options, "dtype": torch.float32}).get_model({}, "").diffusion_model
        weights = {name: torch.randn(value.shape) * 0.05 for name, value in network.state_dict().items()}
        folder = Path(folder_paths.get_folder_paths("diffusion_models")[0])
        folder.mkdir(parents=True, exist_ok=True)
        save_file(weights, folder / f"{base}.safetensors")
        return {"ui": {"text": ["written"]}}


class SecondText:
    """The tiny base's CLIP that also gives its tokens and their weights as Anima's does, without the padding."""

    CATEGORY, FUNCTION, RETURN_TYPES = "FewStep/tests", "give", ("CLIP",)

    @classmethod
    def INPUT_TYPES(cls) -> dict:
        return {"required": {"clip": ("CLIP", {})}}

    def give(self, clip) -> tuple:
        twin = clip.clone()

        def encode(tokens: dict, return_pooled=False, return_dict=False):
            found = clip.encode_from_tokens(tokens, return_pooled=return_pooled, return_dict=return_dict)
            if return_dict:
                (pairs,) = next(iter(tokens.values()))
                ids, weights = zip(*[pair for i, pair in enumerate(pairs) if i == 0 or pair[0] != pairs[-1][0]])
                found |= {
                    "t5xxl_ids": torch.tensor(ids, dtype=torch.int) % 32128,
                    "t5xxl_weights": torch.tensor(weights),
                }
            return found

        twin.encode_from_tokens = encode
        return (twin,)
