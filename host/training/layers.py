"""Which layers of the network get a LoRA: all that can have one, or those that the user names."""

from ...training.checks import require
from ...weights import keys
from . import architectures

GROUPS = {
    "all": (),
    "attention": ("attn1", "attn2", "attn", "img_attn", "txt_attn"),
    "feed-forward": ("ff", "mlp", "img_mlp", "txt_mlp"),
    "convolutions": ("resnets", "downsamplers", "upsamplers"),
}


def chosen(model, layers: str) -> list[str]:
    """Names in the host's network. layers: words separated by commas, each a group or a part of a name in the file.

    "all"; "attention, feed-forward"; "to_q, to_v" (what SwiftBrush's code adapts); "attn2"; "x_block" (SD3's picture
    side). A part stands between dots.
    Raises ValueError for a word that no layer has.
    """
    targets, names = architectures.lora_targets(model), architectures.lora_names(model)
    words = [word.strip() for word in layers.split(",") if word.strip()]
    require(bool(words), f"FewStepDistill: layers is empty. Write all, or some of {', '.join([*GROUPS][1:])}.")
    if "all" in words:
        return targets
    found = {word: [t for t in targets if has(names[t], GROUPS.get(word, (word,)))] for word in words}
    lost = [word for word in words if not found[word]]
    require(
        not lost,
        f'FewStepDistill: layers names "{", ".join(lost)}", which no layer of this model is called. Write all, '
        f"{', '.join([*GROUPS][1:])}, or parts of diffusers' names such as to_q, to_v.",
    )
    return [target for target in targets if any(target in hits for hits in found.values())]


def has(name: str, parts: tuple[str, ...]) -> bool:
    """Whether one of the parts stands in a dotted name."""
    return any(f".{part}." in f".{name}." for part in parts)


def check_start(model, layers: str, tensors: dict, start: str) -> None:
    """Refuse to start from a LoRA on layers that are not trained: the student would begin without that part of it."""
    names = architectures.lora_names(model)
    outside = set(architectures.lora_targets(model)) - set(chosen(model, layers))
    lost = [name for name in outside if f"{keys.kohya_name(names[name])}.lora_down.weight" in tensors]
    require(
        not lost,
        f'FewStepDistill: "{start}" also changes {len(lost)} layers outside of "{layers}", which would be lost. '
        "Set layers to all, or to what that LoRA was trained on.",
    )
