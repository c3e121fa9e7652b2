"""Names of the U-Net's blocks: the ldm checkpoint's (input_blocks.4.1) as diffusers' (down_blocks.1.attentions.0).

Both in the underscored form of LoRA keys. With L residual blocks per level, ldm counts
  input_blocks.i:  i = 0 is conv_in; then level (i - 1) // (L + 1), place (i - 1) % (L + 1), place L the downsampler;
  output_blocks.i: level i // (L + 1), place i % (L + 1), the upsampler last inside the last place.
SD1.5, SD2.x, SDXL and SSD-1B have L = 2. Source: the `layers_per_block` of their published diffusers configurations.
"""

import re

LAYERS = 2
BLOCK = re.compile(r"^(input|output)_blocks_(\d+)_(\d+)_?(.*)$")
DOWNSAMPLER = re.compile(r"input_blocks_(\d+)_0_op(?![a-z])")
MIDDLE = {"0": "mid_block_resnets_0", "1": "mid_block_attentions_0", "2": "mid_block_resnets_1"}
RESNET = {
    "in_layers_0": "norm1",
    "in_layers_2": "conv1",
    "emb_layers_1": "time_emb_proj",
    "out_layers_0": "norm2",
    "out_layers_3": "conv2",
    "skip_connection": "conv_shortcut",
}
SINGLE = {
    "input_blocks_0_0": "conv_in",
    "time_embed_0": "time_embedding_linear_1",
    "time_embed_2": "time_embedding_linear_2",
    "label_emb_0_0": "add_embedding_linear_1",
    "label_emb_0_2": "add_embedding_linear_2",
    "out_0": "conv_norm_out",
    "out_2": "conv_out",
}


def layers_of(modules) -> int:
    """Residual blocks per level, from the first downsampler among ldm names; 2 where the file adapts none."""
    places = [int(match[1]) for match in map(DOWNSAMPLER.search, modules) if match]
    return min(places) - 1 if places else LAYERS


def diffusers_name(module: str, layers: int = LAYERS) -> str:
    """input_blocks_4_1_proj_in -> down_blocks_1_attentions_0_proj_in; other names stay as they are."""
    if module in SINGLE:
        return SINGLE[module]
    if module.startswith("middle_block_"):
        _, _, part, rest = module.split("_", 3)
        return f"{MIDDLE[part]}_{RESNET.get(rest, rest)}" if part in MIDDLE else module
    match = BLOCK.match(module)
    if not match:
        return module
    side, number, part, rest = match[1], int(match[2]), match[3], match[4]
    level, place = divmod(number - 1 if side == "input" else number, layers + 1)
    block = f"{'down' if side == 'input' else 'up'}_blocks_{level}"
    if rest == "op":
        return f"{block}_downsamplers_0_conv"
    if rest == "conv":
        return f"{block}_upsamplers_0_conv"
    if part == "0":
        return f"{block}_resnets_{place}_{RESNET.get(rest, rest)}"
    return f"{block}_attentions_{place}_{rest}"
