"""Merging: exact sums of LoRAs of any ranks, compression with a true error, refusals in words."""

import pytest
import torch
from fewstep.tests.helpers.lora_files import SHAPES, dense, lora
from fewstep.weights import merge


@pytest.mark.parametrize("weight", [-0.5, 0.0, 0.3, 0.5, 1.0, 1.7])
@pytest.mark.parametrize("ranks, alphas", [((4, 4), (4.0, 4.0)), ((2, 7), (1.0, None)), ((8, 1), (None, 0.5))])
def test_interpolation_is_exact_for_any_ranks_and_alphas(weight, ranks, alphas):
    a, b = lora(ranks[0], 1, alphas[0]), lora(ranks[1], 2, alphas[1])
    made = dense(merge.to_file(merge.interpolate(merge.deltas(a), merge.deltas(b), weight)))
    for name in SHAPES:
        wanted = weight * dense(a)[name] + (1 - weight) * dense(b)[name]
        assert torch.allclose(made[name], wanted, atol=1e-4)


@pytest.mark.parametrize("weight, index", [(1.0, 0), (0.0, 1)])
def test_the_ends_are_the_parents_with_their_own_rank(weight, index):
    files = lora(4, 1), lora(6, 2)
    made = merge.interpolate(*map(merge.deltas, files), weight)
    assert {delta.rank for delta in made.values()} == {(4, 6)[index]}


def test_half_precision_files_are_summed_in_fp32():
    a, b = lora(4, 1, dtype=torch.float16), lora(4, 2, dtype=torch.bfloat16)
    made = dense(merge.to_file(merge.weighted_sum([(merge.deltas(a), 1.0), (merge.deltas(b), 0.8)])))
    for name in SHAPES:
        assert torch.allclose(made[name], dense(a)[name] + 0.8 * dense(b)[name], atol=1e-4)


def test_a_module_that_one_file_lacks_counts_as_zero():
    a, b = lora(4, 1), lora(4, 2, modules={"lora_unet_a_to_q": SHAPES["lora_unet_a_to_q"]})
    made = dense(merge.to_file(merge.interpolate(merge.deltas(a), merge.deltas(b), 0.25)))
    assert torch.allclose(made["lora_unet_b_conv1"], 0.25 * dense(a)["lora_unet_b_conv1"], atol=1e-5)


@pytest.mark.parametrize("rank", [1, 2, 4, 9])
def test_compression_is_the_best_of_its_rank_and_reports_its_error(rank):
    """Against the SVD of the dense matrix (Eckart-Young)."""
    summed = merge.weighted_sum([(merge.deltas(lora(4, 1)), 0.6), (merge.deltas(lora(5, 2)), 0.4)])
    for delta in summed.values():
        smaller, error = merge.compress(delta, rank)
        u, s, vt = torch.linalg.svd(delta.dense(), full_matrices=False)
        best = (u[:, :rank] * s[:rank]) @ vt[:rank]
        assert smaller.rank <= rank and smaller.up.ndim == delta.up.ndim
        assert torch.allclose(smaller.dense(), best, atol=1e-4)
        true = (smaller.dense() - delta.dense()).norm() / delta.dense().norm()
        assert error == pytest.approx(true.item(), abs=1e-4)


def test_the_error_of_a_whole_lora_is_its_relative_distance():
    summed = merge.weighted_sum([(merge.deltas(lora(4, 1)), 1.0), (merge.deltas(lora(4, 2)), 1.0)])
    smaller, error = merge.compress_all(summed, 3)
    lost = sum((smaller[n].dense() - summed[n].dense()).square().sum() for n in summed)
    whole = sum(summed[n].dense().square().sum() for n in summed)
    assert error == pytest.approx(float((lost / whole).sqrt()), rel=1e-3)
    assert merge.compress_all(summed, 100)[1] == 0.0


LINEAR = (16, 12, None)
DORA = {**lora(4, 1), "lora_unet_a_to_q.dora_scale": torch.ones(1)}


def blend(modules: dict) -> None:
    """Half of the usual file and half of one with other modules."""
    merge.interpolate(merge.deltas(lora(2, 1)), merge.deltas(lora(2, 2, modules=modules)), 0.5)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: merge.deltas(DORA, "x"), '"x": lora_unet_a_to_q holds dora_scale.*no plain LoRA'),
        (lambda: merge.deltas({"lora_unet_a.lora_up.weight": torch.ones(4, 1)}), "no plain LoRA pair"),
        (lambda: blend({"lora_unet_z": LINEAR}), "no module in common"),
        (lambda: blend({"lora_unet_a_to_q": (16, 13, None)}), "different shapes"),
    ],
)
def test_what_cannot_be_merged_is_refused_in_words(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("shape", [(24, 40), (16, 8, 3, 3)])
def test_a_whole_difference_becomes_the_nearest_lora(shape):
    """Against the exact SVD: the error is the best one to a hundredth, and nothing but rounding at the full rank."""
    dense = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    s = torch.linalg.svdvals(dense.flatten(1))
    for rank in (2, 8, 99):
        delta, error = merge.factored(dense, rank)
        best = float(s[rank:].square().sum().sqrt() / s.square().sum().sqrt())
        assert best - 1e-5 <= error <= 1.01 * best + 1e-5 and delta.rank == min(rank, len(s))
        measured = (delta.dense() - dense.flatten(1)).norm() / dense.norm()
        assert float(measured) == pytest.approx(error, abs=1e-5)
        assert delta.up.shape[2:] == torch.Size([1] * (dense.ndim - 2)) and delta.down.shape[1:] == dense.shape[1:]
    before = torch.rand(1, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(1)
    merge.factored(dense, 2)
    assert torch.equal(torch.rand(1), before)  # the run's own random numbers are left alone
