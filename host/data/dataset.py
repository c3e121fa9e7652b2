"""What a run trains on: pictures with captions, latents the teacher makes from prompts alone, or the host's own."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from ...training.checks import require
from ...training.data import Examples, Lazy
from ...training.order import Buckets
from ...training.prompts import digest_of
from .. import architectures, conditioning, fingerprints, sampling
from ..architectures import SIZES
from ..sockets import Clip, Model, Vae
from . import cache, images, masks
from .from_host import HostData, by_shape
from .shards import Shards


@dataclass(frozen=True)
class DataSpec:
    """prompts: what the teacher draws; pictures: with captions, instead; host_data: the host's own, instead.

    width, height: in pixels; count: latents the teacher makes, in teacher_steps steps at guidance teacher_cfg. stamp:
    of the pictures' files, so that changed ones are other data. buckets: sides of differing pictures are multiples of
    it, 0 crops all to one size. text_cache: megabytes of encoded prompts that are kept in memory.
    """

    prompts: Sequence[str]
    pictures: images.Folder | Shards | None
    width: int
    height: int
    count: int
    teacher_steps: int
    teacher_cfg: float
    stamp: str = ""
    name: str = ""  # of the pictures' folder
    buckets: int = 0
    text_cache: int = 2000
    host_data: HostData | None = None

    def digest(self) -> str:
        """A short name of exactly this data, for the cache and for resuming."""
        parts = [
            digest_of(self.prompts),
            self.name,
            self.stamp,
            self.host_data and self.host_data.digest(),
            self.buckets,
        ]
        parts += [self.width, self.height, self.count, self.teacher_steps, self.teacher_cfg]
        return hashlib.blake2b(json.dumps(parts).encode(), digest_size=8).hexdigest()

    @property
    def drawn(self) -> bool:
        """Whether the teacher makes the latents."""
        return self.pictures is None and self.host_data is None

    def summary(self) -> str:
        if self.host_data:
            kind = "conditionings" if self.host_data.latents is None else "latents"
            return f"{len(self.host_data)} {kind} of the host"
        if self.pictures:
            return f"pictures of {self.name}"
        return f"{self.count} latents the teacher made from {len(self.prompts)} prompts"


@dataclass(frozen=True)
class Maker:
    """What makes latents: the wired MODEL with its text encoder and VAE, and where they are kept.

    batch: pictures at a time; on_item(done, total) is called as they come and may raise to cancel.
    """

    model: Model
    clip: Clip
    vae: Vae | None
    seed: int
    cache: Path
    batch: int = 16
    on_item: Callable[[int, int], None] = lambda done, total: None

    def shape(self, height: int, width: int) -> tuple[int, ...]:
        """[c, h, w] of a latent, from pixels; [c, 1, h, w] for a model of videos."""
        return architectures.latent_shape(self.model, height, width)


def build(spec: DataSpec, maker: Maker, look: bool = True) -> Examples:
    """Examples with latents on disk and encoded prompts, kept up to the spec's cap.

    look: False for methods that train on prompts alone: nothing is drawn, opened or encoded, and every prompt is used.
    """
    if spec.host_data:
        return from_host(spec.host_data, spec, maker, look)
    if spec.pictures:
        return from_pictures(spec, maker) if look else from_prompts(spec, maker, spec.pictures.captions, False)
    return from_prompts(spec, maker, spec.prompts, look)


def from_prompts(spec: DataSpec, maker: Maker, prompts: Sequence[str], look: bool) -> Examples:
    """Latents that the teacher draws, prompts taken in turn; or none, and each prompt once."""
    require(
        bool(prompts), "FewStepDataset: the prompt list is empty. Write one prompt per line, or choose a prompt file."
    )
    count = spec.count if look else len(prompts)
    encode = conditioning.text_encoder(maker.clip, islice(prompts, count), spec.text_cache)
    texts = Lazy(count, lambda i: prompts[i % len(prompts)])

    def cond(text: str) -> dict[str, Tensor]:
        return conditioning.model_keywords(maker.model, encode(text), spec.height, spec.width)

    drawn, shape = draw(spec, maker, texts, encode) if look else None, maker.shape(spec.height, spec.width)
    conds = Lazy(count, lambda i: cond(texts[i]))
    noises = Lazy(count, lambda i: sampling.unit_noise(shape, maker.seed, [i])[0]) if look else None
    return Examples(drawn, range(count), conds, cond(""), texts, shape, noises=noises)


def draw(spec: DataSpec, maker: Maker, texts: Sequence[str], encode: Callable) -> Lazy:
    """The teacher's latents."""

    def make(chosen: range) -> list[Tensor]:
        latents = []
        for first in range(chosen.start, chosen.stop, maker.batch):
            some = range(first, min(first + maker.batch, chosen.stop))
            latents += sampling.teacher_latents(
                maker.model,
                [encode(texts[i]) for i in some],
                encode(""),
                (spec.height, spec.width),
                seed=maker.seed,
                first=first,
                steps=spec.teacher_steps,
                cfg=spec.teacher_cfg,
            )
            maker.on_item(some.stop, len(texts))
        return latents

    key = f"{spec.digest()}-{fingerprints.of_model(maker.model)}-{maker.seed}"
    return cache.kept(maker.cache, key, len(texts), make)


def from_pictures(spec: DataSpec, maker: Maker) -> Examples:
    """Pictures through the VAE, each in its bucket, with SDXL's size and crop ids of its own."""
    require(maker.vae is not None, "FewStepDistill: pictures need a VAE. Connect the vae input.")
    captions = spec.pictures.captions
    fits = images.fits_of(spec.pictures, images.bucket_sizes(spec.width, spec.height, spec.buckets))
    encode = conditioning.text_encoder(maker.clip, captions, spec.text_cache)

    def cond(text: str, index: int) -> dict[str, Tensor]:
        sizes = dict(zip(SIZES, fits[index].tolist()))
        size = sizes["target_height"], sizes["target_width"]
        return conditioning.model_keywords(maker.model, encode(text), *size, sizes)

    targets = fits[:, 4:]
    groups = {
        maker.shape(int(height), int(width)): torch.nonzero((targets == torch.stack([width, height])).all(1)).flatten()
        for width, height in targets.unique(dim=0)
    }
    count = len(captions)
    return Examples(
        encode_pictures(spec, maker, targets),
        range(count),
        Lazy(count, lambda i: cond(captions[i], i)),
        Lazy(count, lambda i: cond("", i)),
        captions,
        instances=masks.reader(spec.pictures.files) if isinstance(spec.pictures, images.Folder) else None,
        buckets=Buckets([group.tolist() for group in groups.values()], list(groups)),
    )


def encode_pictures(spec: DataSpec, maker: Maker, targets: Tensor) -> Lazy:
    """The pictures' latents in the model's scale. targets: [n, 2], width and height in pixels."""

    def one(index: int) -> Tensor:
        with torch.inference_mode():
            latent = maker.vae.encode(images.read_picture(spec.pictures, index, *targets[index].tolist()))
        maker.on_item(index + 1, len(targets))
        with torch.inference_mode(False):
            latent = architectures.with_frames(maker.model, latent.float().cpu().clone())
            return maker.model.model.process_latent_in(latent)[0]

    key = f"{spec.digest()}-{fingerprints.of_network(maker.vae.first_stage_model)}"
    return cache.kept(maker.cache, key, len(targets), lambda chosen: [one(i) for i in chosen])


def from_host(data: HostData, spec: DataSpec, maker: Maker, look: bool) -> Examples:
    """The host's latents and conditionings as they are; latents of several shapes are buckets by themselves."""
    data, empty = data.fitted(maker.model), conditioning.encode_text(maker.clip, "")
    plain = maker.shape(spec.height, spec.width)
    groups = by_shape(data.latents) if data.latents and look else {plain: range(len(data))}
    shapes = {index: shape for shape, group in groups.items() for index in group}
    for shape in groups:
        require(
            shape[0] == plain[0],
            f"FewStepDataFromHost: latents have {shape[0]} channels, the model has {plain[0]}. Use its VAE.",
        )

    sizes = {shape: architectures.image_size(maker.model, shape) for shape in groups}

    def cond(index: int, text: conditioning.Encoded | None = None) -> dict[str, Tensor]:
        given = data.cond(index)
        said = given if text is None else text._replace(options={**given.options, **text.options})
        return conditioning.model_keywords(maker.model, said, *sizes[shapes[index]])

    count = len(data)
    return Examples(
        data.latent(maker.model) if data.latents and look else None,
        range(count),
        Lazy(count, cond),
        Lazy(count, lambda i: cond(i, empty)),
        shape=plain,
        buckets=Buckets(list(groups.values()), list(groups)),
    )
