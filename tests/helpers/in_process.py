"""Short trainings of the tiny base through the host in this process, and looks at what they leave."""

import pytest
import torch

PROMPTS = ["red apple, 3d style", "robot, flat style, on a blue background"]


def bits(model) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.model.state_dict().items()}


def short_lora(tiny, tmp_path, steps=3, prompts=PROMPTS, start="", **options):
    """A few real training steps through the function behind FewStepDistill."""
    from fewstep.host import folders
    from fewstep.host.data import dataset
    from fewstep.host.training import run
    from fewstep.host.training.job import Job
    from fewstep.training.config import TrainConfig
    from fewstep.training.methods import lcm
    from fewstep.training.options import ConsistencyOptions

    model, clip, vae = tiny
    spec = dataset.DataSpec(tuple(prompts), None, 96, 96, 4, 2, 2.0)
    settings = {"batch_size": 2, "rank": 4, "alpha": 4.0, "learning_rate": 1e-2, "preview_every": 2}
    config = TrainConfig(steps=steps, **{**settings, **options})
    method = lcm(ConsistencyOptions(skip=200, guidance_min=2.0, guidance_max=2.0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folders, "output_folder", lambda: tmp_path / "output")
        patch.setattr(folders, "lora_folder", lambda: tmp_path / "loras")
        with torch.inference_mode():  # as the host runs its nodes
            return run.distil(Job(model, clip, vae, spec, method, config, "short", PROMPTS, start))


def denoised(model, clip, sigma=3.0) -> torch.Tensor:
    from fewstep.host import conditioning, model_copy

    copy = model_copy.TrainingCopy(model)
    cond = conditioning.encode_prompts(model, clip, PROMPTS[:1], 96, 96)[0]
    y = torch.randn((1, 4, 12, 12), generator=torch.Generator().manual_seed(0)) * sigma
    with torch.inference_mode(False), torch.no_grad():
        return copy.denoise(y, torch.tensor([sigma]), cond)


class FakeText:
    """A text encoder of SDXL's output sizes."""

    def tokenize(self, text):
        return text

    def encode_from_tokens(self, tokens, return_pooled=True):
        generator = torch.Generator().manual_seed(len(tokens))
        return torch.randn(1, 77, 2048, generator=generator), torch.randn(1, 1280, generator=generator)
