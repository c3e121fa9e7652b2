"""A small random SD2.x."""

import torch
from fewstep.tests.helpers.tiny_files import randomised

SD2 = {
    "image_size": 32, "in_channels": 4, "out_channels": 4, "model_channels": 32, "num_res_blocks": [2, 2, 2, 2],
    "channel_mult": [1, 2, 2, 2], "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0], "transformer_depth_middle": 1,
    "transformer_depth_output": [1] * 9 + [0] * 3, "use_spatial_transformer": True, "legacy": False,
    "use_linear_in_transformer": True, "context_dim": 1024, "adm_in_channels": None,
    "use_temporal_attention": False, "dtype": torch.float32,
}  # fmt: skip
TELLS_V = "output_blocks.11.1.transformer_blocks.0.norm1.bias"  # where the host sees SD2.1-768's v-prediction


def random_sd2():
    """A MODEL of SD2.x's class with random weights, which the host takes for a v-prediction model."""
    from comfy.model_patcher import ModelPatcher
    from fewstep.tests.helpers.tiny_models import TinySD2

    tell = torch.randn(32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        model = TinySD2(SD2).get_model({TELLS_V: tell}, "")
        net = model.diffusion_model
        net.load_state_dict({**randomised(net.state_dict(), 0), TELLS_V: tell})
    return ModelPatcher(model, load_device=torch.device("cpu"), offload_device=torch.device("cpu"))
