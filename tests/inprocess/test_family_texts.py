"""A text on its way into training is what the host samples with: its length, its mask, its second part (Anima's).

On small random models of the host's own classes, as test_transformer_students.py.
"""

import pytest
import torch
from fewstep.tests.helpers.transformer_runs import (
    FAMILIES,
    METHODS,
    PROMPTS,
    SIZE,
    Text,
    base_of,
    conditioning_of,
    made,
    run,
)


@pytest.fixture(scope="module", params=FAMILIES)
def model(request, tmp_path_factory):
    return made(request.param, tmp_path_factory.mktemp("family-texts"))


def test_texts_of_unequal_length_weigh_what_they_weigh_alone(model):
    """A repeated text would pull more of the joint attention; so would zeros behind it."""
    from fewstep.host import architectures, conditioning, model_copy
    from fewstep.training.data import join_conds

    copy, conds = model_copy.TrainingCopy(model), conditioning.encode_prompts(model, Text(), list(PROMPTS), *SIZE)
    lengths = [cond["c_crossattn"].shape[1] for cond in conds]
    assert lengths == [int(cond["tokens"][0, 0]) for cond in conds]
    assert lengths == ([512, 512] if base_of(model) == "FLUX.2" else [12, 17])  # where the host pads, so does training
    shape = architectures.latent_shape(model, *SIZE)
    y, sigma = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0)), torch.tensor([0.9, 0.5])
    with torch.inference_mode(False), torch.no_grad():
        together = copy.denoise(y, sigma, join_conds(conds, torch.device("cpu")))
        alone = [copy.denoise(y[i : i + 1], sigma[i : i + 1], conds[i]) for i in range(2)]
        assert torch.allclose(together, torch.cat(alone), atol=1e-5)
        if base_of(model) in ("SD3", "Flux", "Qwen-Image", "Z-Image"):  # text and image are one row of tokens
            padded = join_conds([{k: v for k, v in c.items() if k != "tokens"} for c in conds], torch.device("cpu"))
            repeated = copy.denoise(y, sigma, padded)
            assert not torch.allclose(repeated, torch.cat(alone), atol=1e-4)


@pytest.mark.parametrize("hidden", [0, 3])
def test_a_texts_mask_is_taken_where_it_changes_nothing(model, hidden):
    """A mask of ones always; one that hides tokens only where the host does not show it to the network."""
    from fewstep.host.data import from_host

    mask = torch.ones(1, 12)
    mask[:, :hidden] = 0
    given = conditioning_of(PROMPTS[0], attention_mask=mask)
    data = from_host.read(None, [given])
    if hidden and base_of(model) not in ("FLUX.2", "Anima"):
        with pytest.raises(ValueError, match="attention_mask hides some of its tokens"):
            data.fitted(model)
    else:
        assert torch.equal(data.fitted(model).conds[0].hidden, given[0][0])


def hosts_prediction(model, given: list, y: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """x0 as the host's own sampling asks its MODEL for it, with this CONDITIONING and guidance 1."""
    import comfy.sample
    from fewstep.host import sampling

    seen = []
    look = sampling.as_sampler(
        lambda denoise, x, *_, **options: seen.append(denoise(y, sigma, **options["extra_args"])) or x, {}
    )
    with torch.inference_mode():
        comfy.sample.sample_custom(model, y, 1.0, look, torch.tensor([0.9, 0.0]), given, given, torch.zeros_like(y))
    return seen[0]


def test_training_predicts_what_the_host_samples_with(model):
    """The same noise, sigma and text through the training copy and through the host; another text is another one."""
    from fewstep.host import architectures, conditioning, model_copy

    y = torch.randn(1, *architectures.latent_shape(model, *SIZE), generator=torch.Generator().manual_seed(0))
    sigma, copy = torch.tensor([0.6]), model_copy.TrainingCopy(model)
    with torch.inference_mode(False), torch.no_grad():
        texts = [
            copy.denoise(y, sigma, cond) for cond in conditioning.encode_prompts(model, Text(), list(PROMPTS), *SIZE)
        ]
    for ours, prompt in zip(texts, PROMPTS):
        theirs = hosts_prediction(model, conditioning_of(prompt), y, sigma)
        assert torch.allclose(ours, theirs, atol=1e-5)
    assert not torch.allclose(*texts, atol=1e-3)


class OneText(Text):
    """Another family's text encoder."""

    def encode_from_tokens_scheduled(self, tokens):
        ((hidden, more),) = super().encode_from_tokens_scheduled(tokens)
        return [[hidden, {"pooled_output": more["pooled_output"]}]]


def test_a_text_in_one_part_is_refused_where_two_are_read(model, tmp_path):
    from fewstep.host.data import from_host

    if base_of(model) != "Anima":
        assert run(model, tmp_path, METHODS["LCM"](), text=OneText())[0].metrics
        return
    refusal = "came without t5xxl_ids and t5xxl_weights: .* Connect the CLIP of Anima"
    with pytest.raises(ValueError, match=refusal):
        run(model, tmp_path, METHODS["LCM"](), text=OneText())
    data = from_host.read(None, [[[torch.zeros(1, 3, 32), {}]]])
    with pytest.raises(ValueError, match=refusal):
        data.fitted(model)
    assert not list(tmp_path.rglob("latents-*"))


def test_a_second_text_is_part_of_what_the_data_is(model):
    from fewstep.host.data import from_host

    given, other = conditioning_of(PROMPTS[0]), conditioning_of(PROMPTS[0])
    other[0][1]["t5xxl_ids"] = other[0][1]["t5xxl_ids"].flip(0)
    digests = {from_host.read(None, [some]).digest() for some in (given, conditioning_of(PROMPTS[0]), other)}
    assert len(digests) == 2
