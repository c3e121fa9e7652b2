"""The layers of a network that training asks for: what gets a LoRA and its name there, what is recomputed, where the
discriminator looks. Which they are stands in the network's row (host/architectures.py)."""

from collections.abc import Callable
from dataclasses import dataclass

from comfy import utils
from torch import Tensor, nn

from ...training.checks import require
from ...weights import keys
from .. import architectures, quantised
from ..networks import Blocks, Network
from ..sockets import Model


def blocks_of(net: nn.Module, network: Network) -> list[tuple[str, nn.Module, Blocks]]:
    """(name, block, its row) in the order of the forward pass."""
    blocks = []
    for row in network.blocks:
        part = getattr(net, row.name, None)
        if isinstance(part, nn.ModuleList):
            blocks += [(f"{row.name}.{i}", block, row) for i, block in enumerate(part)]
        elif part is not None:
            blocks.append((row.name, part, row))
    return blocks


def lora_names(model: Model) -> dict[str, str]:
    """{module of the host's network: its name in a LoRA's file}.

    Diffusers' names come from the host's own table. A transformer's are the host's own (kohya's, too), where q, k and v
    are one weight.
    """
    network = architectures.network_of(model)
    if network.names == "diffusers":
        table = utils.unet_to_diffusers(model.model.model_config.unet_config)
        ends = ((ours, theirs) for theirs, ours in table.items() if theirs.endswith(".weight"))
        return {ours.removesuffix(".weight"): theirs.removesuffix(".weight") for ours, theirs in ends}
    blocks = blocks_of(model.model.diffusion_model, network)
    inside = [f"{name}.{inner}" for name, block, _ in blocks for inner, _ in block.named_modules()]
    return dict(zip(inside, inside))


def lora_targets(model: Model) -> list[str]:
    """The Linear and Conv2d modules that get a LoRA, as names in the host's network.

    A U-Net's are those of LCM-LoRA: all but the first and last convolution and the time embedding, and only those with
    a diffusers name, so that every reader knows them. A transformer's are those of its blocks, their modulation too.
    """
    names, outside = lora_names(model), architectures.network_of(model).without_lora
    return [
        name
        for name, module in model.model.diffusion_model.named_modules()
        if quantised.is_layer(module) and name in names and not names[name].startswith(outside)
    ]


def chosen(model: Model, layers: str) -> list[str]:
    """Names in the host's network. layers: words separated by commas, each a group or a part of a name in the file.

    "all"; "attention, feed-forward"; "to_q, to_v" (what SwiftBrush's code adapts); "attn2"; "x_block" (SD3's image
    side). A part stands between dots.
    Raises ValueError for a word that no layer has.
    """
    targets, names, groups = lora_targets(model), lora_names(model), architectures.network_of(model).groups
    words = [word.strip() for word in layers.split(",") if word.strip()]
    require(bool(words), f"FewStepDistill: layers is empty. Write all, or some of {', '.join(groups)}.")
    if "all" in words:
        return targets
    hits = {word: {t for t in targets if has(names[t], groups.get(word, (word,)))} for word in words}
    lost = [word for word in words if not hits[word]]
    require(
        not lost,
        f'FewStepDistill: layers names "{", ".join(lost)}", which no layer of this model is called. Write all, '
        f"{', '.join(groups)}, or parts of the names in the file, such as {example(names[targets[-1]])}.",
    )
    return [target for target in targets if any(target in some for some in hits.values())]


def has(name: str, parts: tuple[str, ...]) -> bool:
    """Whether one of the parts stands in a dotted name."""
    return any(f".{part}." in f".{name}." for part in parts)


def example(name: str) -> str:
    """The last part of a dotted name that is no number."""
    return [part for part in name.split(".") if not part.isdigit()][-1]


def check_start(model: Model, layers: str, tensors: dict[str, Tensor], start: str) -> None:
    """Refuse to start from a LoRA on layers that are not trained: the student would begin without that part of it."""
    names = lora_names(model)
    outside = set(lora_targets(model)) - set(chosen(model, layers))
    lost = [name for name in outside if f"{keys.kohya_name(names[name])}.lora_down.weight" in tensors]
    require(
        not lost,
        f'FewStepDistill: "{start}" also changes {len(lost)} layers outside of "{layers}", which would be lost. '
        "Set layers to all, or to what that LoRA was trained on.",
    )


def recomputed(net: nn.Module, network: Network) -> list[nn.Module]:
    """What gradient checkpointing recomputes one at a time: the layers that the host calls one by one, else blocks."""
    return [
        layer
        for _, block, row in blocks_of(net, network)
        for layer in (block if row.layered else (block,))
    ]  # fmt: skip


def make_repeatable(net: nn.Module, network: Network) -> None:
    """Let blocks run twice on the same inputs: Flux's add to theirs in place, so they get copies."""
    for _, block, row in blocks_of(net, network):
        if not row.layered:
            block.forward = on_copies(block.forward)


def on_copies(run: Callable) -> Callable:
    def copied(value):
        return value.clone() if isinstance(value, Tensor) else value

    return lambda *args, **options: run(*map(copied, args), **{name: copied(v) for name, v in options.items()})


@dataclass(frozen=True)
class ImageTokens:
    """A block as the discriminator sees it: the image's tokens [b, n, c], one entry of what the block gives."""

    block: nn.Module
    index: int

    def register_forward_hook(self, hook: Callable):
        return self.block.register_forward_hook(lambda block, inputs, output: hook(block, inputs, output[self.index]))


def features(net: nn.Module, network: Network, maps: str = "all") -> list[nn.Module | ImageTokens]:
    """Where the discriminator looks: what blocks give of the image; of a U-Net's block, its last layer.

    maps: of all of them, or of the middle one.
    """
    looked_at = [(block[-1] if row.layered else block, row) for _, block, row in blocks_of(net, network)]
    every = [
        block if row.image == "output" else ImageTokens(block, row.image)
        for block, row in looked_at
        if row.image is not None
    ]
    return every if maps == "all" else [every[len(every) // 2]]
