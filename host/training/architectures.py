"""The parts of a network that training asks for: what gets a LoRA and its name there, what is recomputed, what feeds a
discriminator.

Known are the U-Nets of SD1.5, SD2 and SDXL, and the transformers of SD3 and Flux. A kind that is not known has no part.
"""

from collections.abc import Callable
from dataclasses import dataclass

from comfy import utils
from torch import Tensor, nn

# A transformer's lists of blocks, and where the picture's tokens stand in what a block gives: SD3 (text, picture),
# Flux (picture, text), and then both as one row.
STREAMS = {"joint_blocks": 1, "double_blocks": 0, "single_blocks": None}
# Of a U-Net, by diffusers' names: what LCM-LoRA leaves alone.
OUTSIDE = ("conv_in", "conv_out", "time_embedding", "add_embedding", "class_embedding")


def lora_names(model) -> dict[str, str]:
    """{module of the host's network: its name in a LoRA's file}, through the host's own table.

    A U-Net's are diffusers'. A transformer's are the host's own (kohya's, too), where q, k and v are one weight.
    """
    table = utils.unet_to_diffusers(model.model.model_config.unet_config)
    if table:
        ends = ((ours, theirs) for theirs, ours in table.items() if theirs.endswith(".weight"))
        return {ours.removesuffix(".weight"): theirs.removesuffix(".weight") for ours, theirs in ends}
    blocks = transformer_blocks(model.model.diffusion_model)
    inside = [f"{name}.{inner}" for name, block in blocks.items() for inner, _ in block.named_modules()]
    return dict(zip(inside, inside))


def lora_targets(model) -> list[str]:
    """The Linear and Conv2d modules that get a LoRA, as names in the host's network.

    A U-Net's are those of LCM-LoRA: all but the first and last convolution and the time embedding, and only those with
    a diffusers name, so that every reader knows them. A transformer's are those of its blocks, their modulation too.
    """
    names = lora_names(model)
    return [
        name
        for name, module in model.model.diffusion_model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d) and name in names and not names[name].startswith(OUTSIDE)
    ]


def can_learn(model) -> bool:
    """Whether the network is of a known kind and its latents are pictures at an eighth of their size: no videos, and
    not Flux 2, whose blocks have Flux's names."""
    latents = model.model.latent_format
    flat = getattr(latents, "latent_dimensions", 2) == 2 and getattr(latents, "spacial_downscale_ratio", 8) == 8
    return flat and bool(lora_targets(model))


def transformer_blocks(net: nn.Module) -> dict[str, nn.Module]:
    """{name: block} of a transformer, in the order of the forward pass."""
    lists = {name: getattr(net, name, ()) for name in STREAMS}
    return {f"{name}.{i}": block for name, blocks in lists.items() for i, block in enumerate(blocks)}


def unet_blocks(net: nn.Module) -> list[nn.Module]:
    """The U-Net's blocks in the order of the forward pass, each a sequence of layers."""
    middle = [net.middle_block] if getattr(net, "middle_block", None) is not None else []
    return [*getattr(net, "input_blocks", []), *middle, *getattr(net, "output_blocks", [])]


def layers(net: nn.Module) -> list[nn.Module]:
    """What gradient checkpointing recomputes one at a time: a transformer's blocks; of a U-Net the layers of a block,
    which the host calls one by one."""
    return [layer for block in unet_blocks(net) for layer in block] or [*transformer_blocks(net).values()]


def repeatable(net: nn.Module) -> list[nn.Module]:
    """The layers, ready to run twice on the same inputs: Flux's blocks add to theirs in place, so they get copies."""
    for block in transformer_blocks(net).values():
        block.forward = on_copies(block.forward)
    return layers(net)


def on_copies(run: Callable) -> Callable:
    def copied(value):
        return value.clone() if isinstance(value, Tensor) else value

    return lambda *args, **options: run(*map(copied, args), **{name: copied(v) for name, v in options.items()})


@dataclass(frozen=True)
class Stream:
    """A transformer's block as the discriminator sees it: the picture's tokens [b, n, c] of what it gives."""

    block: nn.Module
    index: int

    def register_forward_hook(self, hook: Callable):
        return self.block.register_forward_hook(lambda block, given, output: hook(block, given, output[self.index]))


def features(net: nn.Module, maps: str = "all") -> list[nn.Module | Stream]:
    """Where the discriminator looks at a network: the last layer of every block of a U-Net; of a transformer the blocks
    that keep image and text apart. maps: all of them, or the middle one."""
    every = all_features(net)
    return every if maps == "all" else [every[len(every) // 2]]


def all_features(net: nn.Module) -> list[nn.Module | Stream]:
    found = [block[-1] for block in unet_blocks(net)]
    places = {name: STREAMS[name.partition(".")[0]] for name in transformer_blocks(net)}
    return found or [Stream(b, places[n]) for n, b in transformer_blocks(net).items() if places[n] is not None]
