"""A few real steps of full-weight students."""

import pytest
import torch
from fewstep.tests.helpers.in_process import PROMPTS
from fewstep.training import methods
from fewstep.training.config import TrainConfig
from fewstep.training.options import ConsistencyOptions

LCM = {"skip": 200, "guidance_min": 2.0, "guidance_max": 2.0}
EMBEDDED = ConsistencyOptions(**{**LCM, "guidance_max": 6.0}, guidance_embedding=True)
OTHERS = {
    "LCM": lambda: methods.lcm(ConsistencyOptions(**LCM)),
    "embedded": lambda: methods.lcm(EMBEDDED),
}


def run(wired, folder, method, steps=2, start="", start_model=None, prompts=(), **options):
    """(result, job) of a few real steps of a full-weight student."""
    from fewstep.host import folders
    from fewstep.host.data import dataset
    from fewstep.host.training import run
    from fewstep.host.training.job import Job

    spec = dataset.DataSpec(tuple(PROMPTS), None, 96, 96, 4, 2, 2.0)
    settings = {"batch_size": 2, "rank": 4, "alpha": 4.0, "learning_rate": 1e-4, "preview_every": 2, "ema_decay": 0.5}
    config = TrainConfig(steps=steps, **{**settings, "train": "full", **options})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folders, "output_folder", lambda: folder / "output")
        patch.setattr(folders, "lora_folder", lambda: folder / "loras")
        patch.setattr(folders, "network_folder", lambda: folder / "networks")
        with torch.inference_mode():
            job = Job(*wired, spec, method, config, "full", list(prompts), start, start_model)
            return run.distil(job), job


def weights(model) -> dict[str, torch.Tensor]:
    """What the host computes with: every patch on the MODEL baked in, in fp32."""
    from fewstep.host import model_copy

    return {name: tensor.detach() for name, tensor in model_copy.TrainingCopy(model).net.named_parameters()}


def drawn(model, clip, sampler, sigmas) -> torch.Tensor:
    from fewstep.host import conditioning, sampling

    with torch.inference_mode():
        positive, negative = (sampling.conditioning([conditioning.encode_text(clip, t)]) for t in (PROMPTS[0], ""))
        latent = {"samples": torch.zeros(1, 4, 12, 12)}
        return sampling.sample_custom(model, 3, 1.0, positive, negative, sampler, sigmas, latent)["samples"]
