"""The model class of the embedded tiny base, so that the host's stock loader recognises its checkpoint.

A U-Net of the SD1.5 family with 64 channels and a text context of 64, a two-layer CLIP text model, and a TAESD as VAE.
Adding one class to the host's list of supported models is the pack's only global registration; no other model has these
sizes, so nothing else is detected differently.
"""

import comfy.supported_models as supported
from comfy import latent_formats, sd1_clip, supported_models_base

TEXT_CONFIG = {
    "architectures": ["CLIPTextModel"],
    "model_type": "clip_text_model",
    "hidden_act": "quick_gelu",
    "hidden_size": 64,
    "intermediate_size": 256,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "projection_dim": 64,
    "layer_norm_eps": 1e-05,
    "max_position_embeddings": 77,
    "vocab_size": 49408,
    "bos_token_id": 0,
    "eos_token_id": 49407,
    "pad_token_id": 1,
}


class TinyTextEncoder(sd1_clip.SDClipModel):
    """CLIP text model of width 64: `tokens -> ([b, 77, 64], [b, 64])`."""

    def __init__(self, device="cpu", dtype=None, **kwargs):
        kwargs["textmodel_json_config"] = dict(TEXT_CONFIG)
        kwargs["return_projected_pooled"] = False
        super().__init__(device=device, dtype=dtype, **kwargs)


class TinyTextModel(sd1_clip.SD1ClipModel):
    """The host's wrapper around the text encoder, under the name `clip_l` that SD1 checkpoints use."""

    def __init__(self, device="cpu", dtype=None, **kwargs):
        super().__init__(device=device, dtype=dtype, clip_model=TinyTextEncoder, **kwargs)


class TinyLatents(latent_formats.SD15):
    """The latents of the base's own VAE: SD1.5's scale, other colours.

    x0 in the model's scale -> RGB in -1..1 for the host's sampling previews, by least squares over 64 pictures of the
    base, 8 x 8 pixels to a latent: what is left has a root mean square of 0.20 with a bias, of 0.26 on hosts that have
    none (SD1.5's own factors: 1.26; the pictures' standard deviation: 0.57).
    """

    def __init__(self):
        super().__init__()
        self.taesd_decoder_name = None  # SD1.5's would show its colours
        if hasattr(latent_formats.LatentFormat, "latent_rgb_factors_bias"):
            self.latent_rgb_factors_bias = [0.4066, -0.1451, -0.0825]
            self.latent_rgb_factors = [
                [0.1902, -0.1269, 0.2646],
                [-0.2108, -0.1045, 0.1061],
                [0.2824, 0.1343, -0.1902],
                [0.1072, 0.4326, 0.4023],
            ]
        else:
            self.latent_rgb_factors = [
                [-0.0301, -0.0483, 0.3093],
                [-0.2618, -0.0863, 0.1164],
                [0.3452, 0.1119, -0.2030],
                [0.3085, 0.3608, 0.3615],
            ]


class FewStepTinySD(supported.SD15):
    """SD1.5's family at 64 channels: eps prediction, scaled-linear schedule, 1,000 timesteps."""

    unet_config = {
        "context_dim": 64,
        "model_channels": 64,
        "use_linear_in_transformer": False,
        "adm_in_channels": None,
        "use_temporal_attention": False,
    }
    unet_extra_config = {"num_heads": 4, "num_head_channels": -1}
    latent_format = TinyLatents

    def clip_target(self, state_dict=None):
        return supported_models_base.ClipTarget(sd1_clip.SD1Tokenizer, TinyTextModel)


def register() -> None:
    """Add the class to the host's list, once however often the pack is loaded."""
    if not any(known.__name__ == FewStepTinySD.__name__ for known in supported.models):
        supported.models.append(FewStepTinySD)
