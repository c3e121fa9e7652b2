"""The host's own LATENT and CONDITIONING lists as data: what its dataset nodes and its encoders give."""

import hashlib
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...training.checks import require
from ...training.data import Lazy
from .. import architectures
from ..architectures import ROWS, TEXTS
from ..conditioning import Encoded, require_texts
from ..sockets import Model

NODE = "FewStepDataFromHost"
NUMBERS = {name: kind for row in ROWS for name, kind in row.numbers.items()}  # SDXL's sizes; what Flux is told
MASK = "attention_mask"  # of newer text encoders: 1 for each token that is no padding
KNOWN = ("pooled_output", MASK, *NUMBERS, *TEXTS)  # what a cond may carry; None is as good as absent
REASONS = {
    "area": "covers a part of the picture",
    "mask": "covers a part of the picture",
    "control": "carries a ControlNet",
    "hooks": "carries hooks",
    "start_percent": "covers a part of the steps",
    "end_percent": "covers a part of the steps",
}


@dataclass(frozen=True)
class HostData:
    """conds: texts with their options; latents: [c, h, w], or [c, frames, h, w] of videos, in the VAE's scale.

    One cond for all latents, or one for each; without latents a run is on the conds alone. masked: a cond's mask hid
    some of its tokens.
    """

    conds: tuple[Encoded, ...]
    latents: tuple[Tensor, ...] | None
    masked: bool = False

    def __len__(self) -> int:
        return len(self.latents or self.conds)

    def digest(self) -> str:
        """A short name of exactly these numbers."""
        state = hashlib.blake2b(digest_size=8)
        for cond in self.conds:
            numbers = {name: value for name, value in cond.options.items() if name in NUMBERS}
            state.update(repr(sorted(numbers.items())).encode())
            for tensor in cond.tensors:
                update(state, tensor)
        for latent in self.latents or ():
            update(state, latent)
        return state.hexdigest()

    def fitted(self, model: Model) -> "HostData":
        """With one frame to each latent of a picture where the MODEL makes videos.

        Raises ValueError for videos elsewhere, for masked texts where the network is shown the mask, and for texts of
        another family's encoder.
        """
        for cond in self.conds:
            require_texts(architectures.of(model), cond)
        require(
            not (self.masked and architectures.of(model).heeds_mask),
            f"{NODE}: a conditioning's {MASK} hides some of its tokens, which training would not. Encode one prompt at "
            "a time, or use FewStep Dataset.",
        )
        if self.latents is None:
            return self
        dimensions = architectures.of(model).latents.dimensions
        require(
            all(latent.ndim <= 1 + dimensions for latent in self.latents),
            f"{NODE}: a latent [c, frames, h, w] is a video's, and the model makes pictures [c, h, w]. Use its VAE.",
        )
        return replace(
            self, latents=tuple(architectures.with_frames(model, latent[None])[0] for latent in self.latents)
        )

    def latent(self, model: Model) -> Lazy:
        """The latents by index in the MODEL's scale, outside inference mode."""

        def one(index: int) -> Tensor:
            with torch.inference_mode(False):
                return model.model.process_latent_in(self.latents[index].clone().float()[None])[0].cpu()

        return Lazy(len(self), one)

    def cond(self, index: int) -> Encoded:
        return self.conds[index if len(self.conds) > 1 else 0]


def update(state, tensor: Tensor) -> None:
    state.update(str(tuple(tensor.shape)).encode() + tensor.detach().float().cpu().contiguous().numpy().tobytes())


def read(latents: list[dict] | None, conditioning: list[list]) -> HostData:
    """From a node's input lists. Raises ValueError with a sentence for what cannot be trained on."""
    conds = tuple(cond for entries in conditioning for entry in entries for cond in conds_of(*entry))
    rows = None if latents is None else tuple(row for latent in latents for row in rows_of(latent))
    require(bool(conds), f"{NODE}: conditioning is empty. Connect CLIPTextEncode or a dataset node.")
    require(rows is None or bool(rows), f"{NODE}: latents is connected, but the list is empty.")
    require(
        rows is None or len(conds) in (1, len(rows)),
        f"{NODE}: {len(rows or ())} latents came with {len(conds)} conditionings. Give one for all, or one for each.",
    )
    for row in rows or ():
        require(bool(torch.isfinite(row).all()), f"{NODE}: a latent holds NaN or infinity. Check the VAE and pictures.")
    masks = [options[MASK] for entries in conditioning for _, options in entries if options.get(MASK) is not None]
    return HostData(conds, rows, masked=any(not bool(mask.all()) for mask in masks))


def conds_of(hidden: Tensor, options: dict) -> list[Encoded]:
    """One cond for each row of hidden states [b, tokens, width]."""
    for key, value in options.items():
        if key not in KNOWN and value is not None:
            why = REASONS.get(key, f"carries {key!r}")
            raise ValueError(f"{NODE}: a conditioning {why}, which cannot be taught. Give the text's alone.")
    numbers = {key: kind(options[key]) for key, kind in NUMBERS.items() if options.get(key) is not None}
    texts = {key: options[key] for key in TEXTS if options.get(key) is not None}
    pooled, carried = options.get("pooled_output"), {**numbers, **texts}
    rows = range(len(hidden))
    return [Encoded(hidden[i : i + 1], None if pooled is None else pooled[i : i + 1], carried) for i in rows]


def rows_of(latent: dict) -> list[Tensor]:
    """The latents of a batch one by one."""
    samples = latent["samples"]
    require(
        latent.get("noise_mask") is None,
        f"{NODE}: a latent carries an inpainting mask, which training would not heed. Remove it.",
    )
    require(
        isinstance(samples, Tensor) and samples.ndim in (4, 5),
        f"{NODE}: a latent is no batch of pictures [b, c, h, w] or videos [b, c, frames, h, w] but "
        f"{list(samples.shape)}. Encode pictures with the model's VAE.",
    )
    return list(samples)


def by_shape(latents: tuple[Tensor, ...]) -> dict[tuple[int, ...], list[int]]:
    """Which latents have each shape, in the order they come."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, latent in enumerate(latents):
        groups.setdefault(tuple(latent.shape), []).append(index)
    return groups
