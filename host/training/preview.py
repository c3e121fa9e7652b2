"""Pictures of a student in training, beside the teacher's for the same noise."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from ...samplers.registry import SAMPLERS
from ...samplers.schedule import sigmas_of
from ...training.data import join_conds
from .. import architectures, conditioning, sampling
from ..model_copy import TrainingCopy
from ..pictures import decoded
from .job import Job


class Preview:
    """The preview prompts by the sampler the student is for, from the same noise every time.

    Made while the host's model and text encoder are still in memory: the teacher's pictures are drawn once, by the
    host's DPM++ 2M with the data's steps and guidance. Without a VAE or prompts there are no pictures.
    """

    def __init__(self, job: Job):
        self.job, self.conds, self.teacher = job, [], []
        if job.vae is None or not job.preview_prompts:
            return
        spec, prompts = job.spec, job.preview_prompts
        encoded = [conditioning.encode_text(job.clip, prompt) for prompt in [*prompts, ""]]
        size = (spec.height, spec.width)
        self.conds = [conditioning.model_keywords(job.model, text, *size) for text in encoded[:-1]]
        shape = architectures.latent_shape(job.model, *size)
        self.noise = sampling.unit_noise(shape, job.config.seed, list(range(len(prompts))))
        how = {"steps": spec.teacher_steps, "cfg": spec.teacher_cfg}
        latents = sampling.draw(job.model, encoded[:-1], encoded[-1], self.noise, **how)
        self.teacher = self.decoded(latents)

    def student(self, student: Callable, copy: TrainingCopy) -> list[Tensor]:
        """The student's pictures [h, w, 3], in the teacher's order. student(y, sigma, cond) -> x0 on the copy."""
        if not self.teacher:
            return []
        method = self.job.method
        sigmas = sigmas_of(copy.sampling, self.job.timesteps).to(copy.device)
        noise = self.noise.to(copy.device)
        start = copy.sampling.noise_scaling(sigmas[0], noise.clone(), torch.zeros_like(noise), max_denoise=True)
        model = Seen(partial(student, cond=join_conds(self.conds, copy.device)), copy.sampling)
        sampler = SAMPLERS[method.sampler]
        latents = sampler.function(model, start, sigmas, **sampler.keywords(method.eta, self.job.config.seed))
        return self.decoded(self.job.model.model.process_latent_out(latents.cpu()))

    def decoded(self, latents: Tensor) -> list[Tensor]:
        """Latents in the VAE's scale as pictures [h, w, 3] in 0..1."""
        with torch.inference_mode():
            return list(decoded(self.job.vae, latents))


class Seen:
    """A denoiser as a sampler sees a model."""

    def __init__(self, denoise: Callable, model_sampling):
        self.denoise, self.model_sampling = denoise, model_sampling

    def __call__(self, x: Tensor, sigma: Tensor, **_) -> Tensor:
        return self.denoise(x, sigma)
