"""What half precision leaves of the difference that consistency learns from: x0 at t = 999 minus x0 at t = 979."""

import pytest
import torch
from fewstep.tests.helpers.in_process import PROMPTS
from fewstep.training.data import join_conds
from fewstep.training.path import Path

COUNT = 8


def difference(
    model, clip, dtype: torch.dtype, target: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """(x0 at t = 999, that minus x0 at t = 979 of the trajectory through `target`, or through the first)."""
    from fewstep.host import conditioning, model_copy

    keywords = [conditioning.model_keywords(model, conditioning.encode_text(clip, text), 96, 96) for text in PROMPTS]
    half = torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32, cache_enabled=False)
    with model_copy.training_mode(), torch.no_grad(), half:
        copy = model_copy.TrainingCopy(model, dtype)
        path, cond = Path(copy.sigmas()), join_conds([keywords[i % len(keywords)] for i in range(COUNT)], copy.device)
        generator = torch.Generator().manual_seed(0)
        x0, noise = (torch.randn(COUNT, 4, 12, 12, generator=generator) for _ in range(2))
        t = torch.full((COUNT,), 999)
        y = path.noise(x0, noise, t)
        top = copy.denoise(y, path.sigma(t), cond)
        below = path.move(y, top if target is None else target, t, t - 20)
        return top, (top - copy.denoise(below, path.sigma(t - 20), cond)).flatten()


def agreement(tiny, dtype: torch.dtype) -> float:
    """Cosine of that difference in a precision with fp32's."""
    with torch.inference_mode():
        target, exact = difference(*tiny[:2], torch.float32)
        _, rounded = difference(*tiny[:2], dtype, target)
        return float(torch.nn.functional.cosine_similarity(exact, rounded, 0))


@pytest.mark.parametrize("dtype, least", [(torch.bfloat16, 0.78), (torch.float16, 0.99)], ids=["bf16", "fp16"])
def test_the_consistency_signal_survives_half_precision(tiny, dtype, least):
    assert agreement(tiny, dtype) > least


def test_without_an_exact_last_layer_bf16_loses_more_of_it(tiny, monkeypatch):
    from fewstep.host import model_copy

    kept = agreement(tiny, torch.bfloat16)
    monkeypatch.setattr(model_copy, "keep_fp32_layer", lambda *_: None)
    assert agreement(tiny, torch.bfloat16) < kept - 0.03
