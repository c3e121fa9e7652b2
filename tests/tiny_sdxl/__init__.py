"""A custom node pack without nodes, for the tests' host: it makes a small model of SDXL's layout known.

SDXL's U-Net with 32 channels. Its text comes from the tiny base's encoder, repeated to SDXL's widths.
"""

import comfy.supported_models as supported
from comfy.supported_models_base import ClipTarget

CONTEXT, POOLED = 2048, 1280
NODE_CLASS_MAPPINGS = {}


class TinySDXL(supported.SDXL):
    """SDXL's family as tests/test_in_host.py builds it."""

    unet_config = {
        "model_channels": 32,
        "use_linear_in_transformer": True,
        "transformer_depth": [0, 1, 1],
        "context_dim": CONTEXT,
        "adm_in_channels": 2816,
        "use_temporal_attention": False,
    }
    unet_extra_config = {"num_heads": -1, "num_head_channels": 16}
    text_encoder_key_prefix = supported.SD15.text_encoder_key_prefix

    def process_clip_state_dict(self, state_dict):
        return supported.SD15.process_clip_state_dict(self, state_dict)

    def clip_target(self, state_dict=None):
        tiny = next(kind for kind in supported.models if kind.__name__ == "FewStepTinySD").clip_target(self)

        class WideText(tiny.clip):
            def encode_token_weights(self, tokens):
                context, pooled, *rest = super().encode_token_weights(tokens)
                wide = CONTEXT // context.shape[-1], POOLED // pooled.shape[-1]
                return context.repeat(1, 1, wide[0]), pooled.repeat(1, wide[1]), *rest

        return ClipTarget(tiny.tokenizer, WideText)


supported.models.append(TinySDXL)
