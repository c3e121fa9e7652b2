"""What a run trains on: pictures of a folder, or latents that the teacher makes from prompts alone."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from ..training.config import require
from ..training.data import Examples
from ..weights import io
from . import conditioning, models, sampling
from .progress import throw_if_cancelled

CHUNK = 256  # latents in one file of the cache
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


@dataclass(frozen=True)
class DataSpec:
    """prompts: what the teacher draws; folder: pictures with captions instead. width, height in pixels.

    count: latents the teacher makes, in teacher_steps steps at guidance teacher_cfg.
    """

    prompts: tuple[str, ...]
    folder: str | None
    width: int
    height: int
    count: int
    teacher_steps: int
    teacher_cfg: float
    stamp: str = ""  # of the folder's files, so that changed pictures are other data

    def digest(self) -> str:
        """A short name of exactly this data, for the cache and for resuming."""
        return hashlib.blake2b(json.dumps(asdict(self)).encode(), digest_size=8).hexdigest()

    def summary(self) -> str:
        if self.folder:
            return f"pictures of {Path(self.folder).name}"
        return f"{self.count} latents the teacher made from {len(self.prompts)} prompts"


def read_folder(folder: Path) -> list[tuple[Path, str]]:
    """(picture, caption) pairs: the caption is the .txt file of the same name, else the file's name."""
    require(
        folder.is_dir(), f"FewStepDataset: there is no folder {folder}. Put the pictures into the host's input folder."
    )
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES)
    require(bool(files), f"FewStepDataset: {folder} holds no pictures ({', '.join(PICTURES)}).")
    return [(path, caption_of(path)) for path in files]


def stamp_of(folder: Path) -> str:
    """A short hash of the names, sizes and times of a folder's pictures and captions."""
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in (*PICTURES, ".txt"))
    seen = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.blake2b(json.dumps(seen).encode(), digest_size=8).hexdigest()


def caption_of(picture: Path) -> str:
    text = picture.with_suffix(".txt")
    if not text.exists():
        return picture.stem.replace("_", " ")
    try:
        return text.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError as error:
        raise ValueError(f"FewStepDataset: {text} is not UTF-8 text. Save it as UTF-8.") from error


def read_picture(path: Path, width: int, height: int) -> Tensor:
    """[1, h, w, 3] in 0..1: transparent grounds become white, the middle is cropped to the wanted shape."""
    try:
        with Image.open(path) as opened:
            picture = ImageOps.exif_transpose(opened).convert("RGBA")
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"FewStepDataset: {path.name} cannot be read as a picture ({error}). Remove or replace it."
        ) from error
    flat = Image.new("RGBA", picture.size, "white")
    flat.alpha_composite(picture)
    fitted = ImageOps.fit(flat.convert("RGB"), (width, height), Image.Resampling.LANCZOS)
    return torch.from_numpy(numpy.asarray(fitted, dtype=numpy.float32) / 255)[None]


@dataclass(frozen=True)
class Maker:
    """What makes latents: the wired MODEL with its text encoder and VAE, and where they are kept.

    batch: pictures at a time; on_item(done, total) is called as they come and may raise to cancel.
    """

    model: object
    clip: object
    vae: object
    seed: int
    cache: Path
    batch: int = 16
    on_item: Callable[[int, int], None] = lambda done, total: None


def build(spec: DataSpec, maker: Maker, pictures: bool = True) -> Examples:
    """Latents and encoded prompts. Latents are kept in the cache chunk by chunk: a cancelled run makes none twice.

    pictures: False for methods that train on prompts alone; then nothing is drawn or encoded.
    """
    pairs = read_folder(Path(spec.folder)) if spec.folder else []
    prompts = [caption for _, caption in pairs] if pairs else list(spec.prompts)
    require(
        bool(prompts), "FewStepDataset: the prompt list is empty. Write one prompt per line, or choose a prompt file."
    )
    unique = list(dict.fromkeys(prompts))
    encoded = encode_all([*unique, ""], maker)
    if not pictures:
        latents = None
    elif pairs:
        latents = encode_pictures(spec, maker, [path for path, _ in pairs])
    else:
        latents = draw(spec, maker, [encoded[prompts[i % len(prompts)]] for i in range(spec.count)], encoded[""])
    conds = [conditioning.model_keywords(maker.model, *encoded[p], spec.height, spec.width) for p in [*unique, ""]]
    index = {prompt: i for i, prompt in enumerate(unique)}
    owners = [index[prompts[i % len(prompts)]] for i in range(len(pairs) or spec.count)]
    shape = (maker.model.model.latent_format.latent_channels, spec.height // 8, spec.width // 8)
    return Examples(latents, owners, conds[:-1], conds[-1], unique, shape)


def encode_all(prompts: list[str], maker: Maker) -> dict[str, sampling.Encoded]:
    """Every prompt through the text encoder once."""
    encoded = {}
    for prompt in prompts:
        throw_if_cancelled()
        encoded[prompt] = conditioning.encode_text(maker.clip, prompt)
    return encoded


def draw(spec: DataSpec, maker: Maker, prompts: list[sampling.Encoded], empty: sampling.Encoded) -> Tensor:
    """The teacher's latents, [n, c, h, w] in the model's scale."""
    key = f"{spec.digest()}-{models.fingerprint(maker.model)}-{maker.seed}"
    chunks = []
    for start in range(0, len(prompts), CHUNK):
        chosen = prompts[start : start + CHUNK]

        def make(start: int = start, chosen: list = chosen) -> Tensor:
            made = []
            for first in range(0, len(chosen), maker.batch):
                made.append(
                    sampling.teacher_latents(
                        maker.model,
                        chosen[first : first + maker.batch],
                        empty,
                        (spec.height, spec.width),
                        seed=maker.seed,
                        first=start + first,
                        steps=spec.teacher_steps,
                        cfg=spec.teacher_cfg,
                    )
                )
                maker.on_item(start + min(first + maker.batch, len(chosen)), len(prompts))
            return torch.cat(made)

        chunks.append(cached(maker.cache / f"latents-{key}-{start}.safetensors", make))
    return torch.cat(chunks)


def cached(path: Path, make: Callable[[], Tensor]) -> Tensor:
    """The latents of an earlier run with the same data, or new ones."""
    if path.exists():
        return io.load(path)[0]["latents"]
    latents = make()
    require(
        bool(torch.isfinite(latents).all()),
        "FewStepDistill: the teacher made NaN or infinity. Try fp32 or a lower cfg.",
    )
    io.save({"latents": latents}, path, {"made_by": "FewStep"})
    return latents


def encode_pictures(spec: DataSpec, maker: Maker, files: list[Path]) -> Tensor:
    """The pictures' latents, [n, c, h, w] in the model's scale."""
    require(maker.vae is not None, "FewStepDistill: pictures need a VAE. Connect the vae input.")

    def make() -> Tensor:
        latents = []
        for done, path in enumerate(files, 1):
            with torch.inference_mode():
                latents.append(maker.vae.encode(read_picture(path, spec.width, spec.height)).float().cpu())
            maker.on_item(done, len(files))
        with torch.inference_mode(False):
            return maker.model.model.process_latent_in(torch.cat(latents).clone())

    return cached(maker.cache / f"latents-{spec.digest()}.safetensors", make)
