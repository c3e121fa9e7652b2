"""A custom node pack for the tests' host: it makes small models of SD2.x's and SDXL's layout known, and writes small
networks of newer families (networks.py).

Their U-Nets with 32 channels. Their text comes from the tiny base's encoder, repeated to their widths.
"""

import comfy.supported_models as supported
from comfy.supported_models_base import ClipTarget

from . import networks

SMALL = {"model_channels": 32, "use_linear_in_transformer": True, "use_temporal_attention": False}


class TinyText:
    """The tiny base's text encoder and how SD1.5 keeps it in a checkpoint; width, pooled: of what it gives."""

    text_encoder_key_prefix = supported.SD15.text_encoder_key_prefix
    width, pooled = 64, 64

    def process_clip_state_dict(self, state_dict):
        return supported.SD15.process_clip_state_dict(self, state_dict)

    def clip_target(self, state_dict=None):
        tiny = next(kind for kind in supported.models if kind.__name__ == "FewStepTinySD").clip_target(self)
        width, wide = self.width, self.pooled

        class WideText(tiny.clip):
            def encode_token_weights(self, tokens):
                context, pooled, *rest = super().encode_token_weights(tokens)
                times = width // context.shape[-1], wide // pooled.shape[-1]
                return context.repeat(1, 1, times[0]), pooled.repeat(1, times[1]), *rest

        return ClipTarget(tiny.tokenizer, WideText)


class TinySD2(TinyText, supported.SD20):
    """SD2.x's family; the host tells v-prediction from the weights, as it does for SD2.1-768."""

    width = 1024
    unet_config = {**SMALL, "context_dim": width, "adm_in_channels": None}
    unet_extra_config = {**supported.SD20.unet_extra_config, "num_head_channels": 16}


class TinySDXL(TinyText, supported.SDXL):
    """SDXL's family as tests/inprocess/test_in_host.py builds it."""

    width, pooled = 2048, 1280
    unet_config = {**SMALL, "transformer_depth": [0, 1, 1], "context_dim": width, "adm_in_channels": 2816}


supported.models.extend([TinySD2, TinySDXL])
NODE_CLASS_MAPPINGS = {"SmallNetworkLoader": networks.SmallNetwork, "SmallSecondText": networks.SecondText}
networks.install()
