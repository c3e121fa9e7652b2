"""ImageReward (Xu et al. 2023) through its own package `image-reward`, from local files alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path

import torch
from torch import Tensor, nn

from ...training.checks import require
from ...training.rewards import PairedScore
from .. import folders
from . import clip
from .offload import offloaded

FILES = {
    "ImageReward.pt": "the weights, from Hugging Face's THUDM/ImageReward",
    "med_config.json": "the text model's settings, from the same place",
    "vocab.txt": "the tokens of Hugging Face's bert-base-uncased",
}
TOKENS = 35  # of a prompt, as the package reads it
ENDINGS = ("position_ids",)  # buffers that newer versions of transformers no longer keep


def score(name: str, node: str) -> PairedScore:
    """The reward of a folder in fewstep_rewards. Raises ValueError with what is missing and where to put it."""
    folder = folders.inside(folders.reward_folder(), name, f"{node}: name")
    missing = [f"{file} ({what})" for file, what in FILES.items() if not (folder / file).is_file()]
    where = f"models/fewstep_rewards/{folder.name}"
    require(not missing, f"{node}: ImageReward needs these files in {where}: {'; '.join(missing)}.")
    package(node)
    return PairedScore(f"ImageReward ({name})", partial(paired, cache(lambda: load(folder, node))))


def names() -> list[str]:
    """Folders in fewstep_rewards that hold ImageReward's weights."""
    root = folders.reward_folder()
    listed = sorted(path.parent.name for path in root.glob("*/ImageReward.pt")) if root.is_dir() else []
    return listed or [clip.NO_FOLDER]


def package(node: str):
    """(the package's network class, the module that makes its tokenizer)."""
    try:
        from ImageReward.ImageReward import ImageReward
        from ImageReward.models.BLIP import blip_pretrain
    except ImportError as error:
        raise ValueError(
            f"{node}: the package image-reward cannot be used in the host's Python ({error}). Install it and what it "
            "asks for: pip install image-reward, and OpenAI's clip, which its list of needs leaves out."
        ) from error
    return ImageReward, blip_pretrain


def load(folder: Path, node: str) -> nn.Module:
    """The network with its weights, frozen, in fp32 and outside inference mode."""
    network, blip = package(node)
    with torch.inference_mode(False):
        with local_tokens(blip, folder / "vocab.txt"):
            model = network(med_config=str(folder / "med_config.json"), device="cpu")
        missing, _ = model.load_state_dict(clip.torch_file(folder / "ImageReward.pt", node), strict=False)
        lost = [key for key in missing if not key.endswith(ENDINGS)]
        require(not lost, f"{node}: ImageReward.pt lacks {len(lost)} tensors ({', '.join(lost[:3])}). Get it again.")
        return offloaded(model.float().eval().requires_grad_(False))


@contextmanager
def local_tokens(blip, vocabulary: Path) -> Iterator[None]:
    """The package asks a server for its tokenizer; while the network is built it gets the local vocabulary."""
    before = blip.init_tokenizer
    blip.init_tokenizer = partial(tokenizer, vocabulary)
    try:
        yield
    finally:
        blip.init_tokenizer = before


def tokenizer(vocabulary: Path):
    """bert-base-uncased with BLIP's two tokens."""
    from transformers import BertTokenizer

    bert = BertTokenizer(vocab_file=str(vocabulary))
    bert.add_special_tokens({"bos_token": "[DEC]", "additional_special_tokens": ["[ENC]"]})
    return bert


def paired(network, pixels: Tensor, prompts: list[str]) -> Tensor:
    """[b], with gradient: the package's `score_gard`."""
    model = network().to(pixels.device)
    model.device = pixels.device  # where it makes its attention masks
    options = {"padding": "max_length", "truncation": True, "max_length": TOKENS, "return_tensors": "pt"}
    tokens = model.blip.tokenizer(prompts, **options).to(pixels.device)
    return model.score_gard(tokens.input_ids, tokens.attention_mask, pixels)[:, 0]
