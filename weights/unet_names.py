"""A whole U-Net in diffusers' names (down_blocks.1.attentions.0...) as ldm's (input_blocks.4.1...), by names alone.

With L residual blocks per level:
  down_blocks.i, place p: input_blocks.(i (L + 1) + 1 + p); its downsampler at place L;
  up_blocks.i, place p:   output_blocks.(i (L + 1) + p); its upsampler the last part of place L.
A host that reads ldm's names then finds depths and widths in the tensors, whatever they are.
"""

import re

from .blocks import RESNET as LDM_RESNET

PARTS = {diffusers: ldm for ldm, diffusers in LDM_RESNET.items()}
PLACES = re.compile(r"^down_blocks\.0\.resnets\.(\d+)\.")
BLOCK = re.compile(r"^(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)$")
SINGLE = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "time_embedding.cond_proj": "time_embed.cond_proj",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "class_embedding.linear_1": "label_emb.0.0",
    "class_embedding.linear_2": "label_emb.0.2",
    "mid_block.attentions.0": "middle_block.1",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
MIDDLE = {"0": "0", "1": "2"}


def to_ldm(names: list[str]) -> dict[str, str]:
    """{a diffusers U-Net's tensor: ldm's name}; names of no U-Net stay as they are."""
    places = [int(match[1]) for match in map(PLACES.match, names) if match]
    layers = max(places, default=1) + 1
    attended = {match.group(1, 2) for match in map(BLOCK.match, names) if match and match[3] == "attentions"}
    return {name: renamed(name, layers, attended) for name in names}


def renamed(name: str, layers: int, attended: set[tuple[str, str]]) -> str:
    """attended: the (side, level) of every block with attention, whose upsampler is the third part, not the second."""
    for theirs, ours in SINGLE.items():
        if name.startswith(f"{theirs}."):
            return ours + name.removeprefix(theirs)
    middle = re.match(r"^mid_block\.resnets\.([01])\.(.+)$", name)
    if middle:
        return f"middle_block.{MIDDLE[middle[1]]}.{resnet_part(middle[2])}"
    match = BLOCK.match(name)
    if not match:
        return name
    side, level, kind, place, rest = match[1], int(match[2]), match[3], int(match[4]), match[5]
    start = level * (layers + 1) + (1 if side == "down" else 0)
    block = "input_blocks" if side == "down" else "output_blocks"
    if kind == "downsamplers":
        return f"{block}.{start + layers}.0.op.{rest.removeprefix('conv.')}"
    if kind == "upsamplers":
        return f"{block}.{start + layers}.{2 if (side, match[2]) in attended else 1}.{rest}"
    return f"{block}.{start + place}." + (f"0.{resnet_part(rest)}" if kind == "resnets" else f"1.{rest}")


def resnet_part(part: str) -> str:
    """conv1.weight -> in_layers.2.weight."""
    module, _, end = part.rpartition(".")
    return re.sub(r"_(\d)$", r".\1", PARTS.get(module, module)) + f".{end}"
