"""The kinds of networks that can be trained: their blocks, and which of their layers carry a LoRA."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """Blocks of a network, in the order of the forward pass, under one of its names: a list of them, or one."""

    name: str
    layered: bool  # whether a block is a sequence of layers, which the host calls one by one
    # What of a block's output is the image: all of it, or that entry; None where text and image are one row of tokens,
    # at which no discriminator looks.
    image: Literal["output"] | int | None


@dataclass(frozen=True, kw_only=True)
class Network:
    """What training reads of a kind of network."""

    blocks: tuple[Blocks, ...]
    # A LoRA's names in its file: diffusers', by the host's table, or the host's own for what lies in blocks. Every
    # Linear and Conv2d that has such a name gets a LoRA, but for those whose name begins as one of without_lora.
    names: Literal["diffusers", "host"]
    without_lora: tuple[str, ...]
    groups: dict[str, tuple[str, ...]]  # what the user may call some of the layers: parts of their names in the file
    full_weights: bool  # whether every weight of a student can be trained
    guidance_layer: str  # the Linear that LCM's guidance embedding goes into; "" where there is none
    # Runs in fp32 also in half precision: a U-Net's last, since x0 multiplies its rounding errors; Wan's first, whose
    # input the host makes fp32. "" for none.
    fp32_layer: str


UNET = Network(
    blocks=tuple(
        Blocks(name=name, layered=True, image="output") for name in ("input_blocks", "middle_block", "output_blocks")
    ),
    names="diffusers",
    without_lora=("conv_in", "conv_out", "time_embedding", "add_embedding", "class_embedding"),  # LCM-LoRA's
    groups={
        "attention": ("attn1", "attn2"),
        "feed-forward": ("ff",),
        "convolutions": ("resnets", "downsamplers", "upsamplers"),
    },
    full_weights=True,
    guidance_layer="time_embed.0",
    fp32_layer="out",
)


def transformer(*blocks: Blocks, fp32_layer: str = "", **groups: tuple[str, ...]) -> Network:
    """A transformer, trained as a LoRA on its blocks alone."""
    return Network(
        blocks=blocks,
        names="host",
        without_lora=(),
        groups={name.replace("_", "-"): parts for name, parts in groups.items()},
        full_weights=False,
        guidance_layer="",
        fp32_layer=fp32_layer,
    )


def list_of(name: str, image: Literal["output"] | int | None) -> Blocks:
    """Blocks that are no sequences themselves."""
    return Blocks(name=name, layered=False, image=image)


MMDIT = transformer(list_of("joint_blocks", 1), attention=("attn",), feed_forward=("mlp",))  # (text, image)
FLUX = transformer(  # a double block gives (image, text)
    list_of("double_blocks", 0),
    list_of("single_blocks", None),
    attention=("img_attn", "txt_attn"),
    feed_forward=("img_mlp", "txt_mlp"),
)
QWEN = transformer(  # (text, image)
    list_of("transformer_blocks", 1), attention=("attn",), feed_forward=("img_mlp", "txt_mlp")
)
Z_IMAGE = transformer(  # text and image are refined apart, then run as one row of tokens
    list_of("context_refiner", None),
    list_of("noise_refiner", "output"),
    list_of("layers", None),
    attention=("attention",),
    feed_forward=("feed_forward",),
)
COSMOS = transformer(  # Cosmos Predict 2's: as Wan's, over rows and columns [b, frames, h, w, c]
    list_of("blocks", "output"),
    attention=("self_attn", "cross_attn"),
    feed_forward=("mlp",),
)
WAN = transformer(  # the image alone: text comes in by cross-attention
    list_of("blocks", "output"),
    fp32_layer="patch_embedding",
    attention=("self_attn", "cross_attn"),
    feed_forward=("ffn",),
)
