"""The host's own sampling, without its nodes: the teacher's pictures for image-free distillation, and previews."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from ..samplers.noise import generator_for
from ..samplers.schedule import is_flow, require_numbers
from . import architectures
from .conditioning import Encoded
from .guider import StepGuider
from .progress import preview_callback, throw_if_cancelled
from .sockets import Model


def unit_noise(shape: tuple, seed: int, indices: list[int]) -> Tensor:
    """Initial noise [b, c, h, w], each picture from (seed, its index)."""
    return torch.stack([torch.randn(shape, generator=generator_for("initial", seed, index)) for index in indices])


def conditioning(encoded: list[Encoded]) -> list:
    """Several prompts of one length as one CONDITIONING whose batch lines up with the latents'; their options are the
    first one's."""
    pooled = [text.pooled for text in encoded if text.pooled is not None]
    options = {"pooled_output": torch.cat(pooled)} if pooled else {}
    return [[torch.cat([text.hidden for text in encoded]), {**encoded[0].options, **options}]]


def draw(model: Model, prompts: list[Encoded], empty: Encoded, noise: Tensor, *, steps: int, cfg: float) -> Tensor:
    """sample_latents for a prompt each and the empty one. Texts of one length go together: where the network joins text
    and picture, a repeated text would weigh more. Those with further texts go alone, as the host takes one of these."""
    kinds = [(text.hidden.shape[1], i if text.options else None) for i, text in enumerate(prompts)]
    latents = torch.empty_like(noise)
    for kind in dict.fromkeys(kinds):
        rows = [i for i, other in enumerate(kinds) if other == kind]
        pair = conditioning([prompts[i] for i in rows]), conditioning([empty] * len(rows))
        latents[rows] = sample_latents(model, *pair, noise[rows], steps=steps, cfg=cfg)
    return latents


def sample_latents(model: Model, positive: list, negative: list, noise: Tensor, *, steps: int, cfg: float) -> Tensor:
    """The host's DPM++ 2M from pure noise, on Karras' sigmas, or a flow model's evenly spaced ones. Latents in the
    VAE's scale, [b, c, h, w] on the CPU.

    Cancel raises the host's exception after the current step.
    """
    import comfy.sample

    flow = is_flow(model.get_model_object("model_sampling"))
    with torch.inference_mode():
        latents = comfy.sample.sample(
            model,
            noise,
            steps,
            cfg,
            "dpmpp_2m",
            "simple" if flow else "karras",
            positive,
            negative,
            torch.zeros_like(noise),
            callback=lambda *_: throw_if_cancelled(),
            disable_pbar=True,
            seed=0,
        )
    return latents.float().cpu()


def teacher_latents(
    model: Model,
    prompts: list[Encoded],
    empty: Encoded,
    size: tuple[int, int],
    *,
    seed: int,
    first: int,
    steps: int,
    cfg: float,
) -> Tensor:
    """One latent [c, h, w] per prompt, made by the model itself, in the *model's* scale.

    size: (height, width) in pixels; first: the index of the first picture, which its noise depends on.
    """
    shape = architectures.latent_shape(model, *size)
    noise = unit_noise(shape, seed, list(range(first, first + len(prompts))))
    latents = draw(model, prompts, empty, noise, steps=steps, cfg=cfg)
    with torch.inference_mode(False):
        return model.model.process_latent_in(latents.clone())


def as_sampler(function: Callable, options: dict):
    """A SAMPLER of the host from a function in k-diffusion's signature."""
    from comfy.samplers import KSAMPLER

    return KSAMPLER(function, extra_options=options)


def rewrapped(sampler, wrap: Callable[[Callable], Callable]):
    """A SAMPLER whose function is wrapped, its options and inpainting settings kept. ValueError for other kinds."""
    from comfy.samplers import KSAMPLER

    if not hasattr(sampler, "sampler_function"):
        raise ValueError(
            f"FewStep: a {type(sampler).__name__} cannot be wrapped. Use a sampler of KSamplerSelect, SamplerEuler or "
            "FewStep Sampler."
        )
    return KSAMPLER(wrap(sampler.sampler_function), dict(sampler.extra_options), dict(sampler.inpaint_options))


def sample_custom(
    model: Model, seed: int, cfg: float | list[float], positive, negative, sampler, sigmas: Tensor, latent: dict
) -> dict:
    """The stock SamplerCustom: noise of the seed and the latent's batch_index, mask, previews, cancel. Gives LATENT.

    cfg: one guidance scale, or one for each step.
    """
    import comfy.sample

    require_numbers(sigmas)
    samples = fix_channels(model, latent["samples"])
    noise = comfy.sample.prepare_noise(samples, seed, latent.get("batch_index"))
    samples = StepGuider(model, positive, negative, cfg if isinstance(cfg, list) else [cfg]).sample(
        noise,
        samples,
        sampler,
        sigmas,
        denoise_mask=latent.get("noise_mask"),
        callback=preview_callback(model, len(sigmas) - 1),
        disable_pbar=False,
        seed=seed,
    )
    return {**latent, "samples": put_away(samples)}


def put_away(samples: Tensor) -> Tensor:
    """Latents where the host keeps them between nodes, and in its precision where it has one for them."""
    from comfy import model_management

    dtype = getattr(model_management, "intermediate_dtype", lambda: None)()
    return samples.to(device=model_management.intermediate_device(), dtype=dtype)


def fix_channels(model: Model, samples: Tensor) -> Tensor:
    """An empty latent takes the channel count of the model, where the host knows how (later versions)."""
    import comfy.sample

    fix = getattr(comfy.sample, "fix_empty_latent_channels", None)
    return fix(model, samples) if fix else samples


def load(model: Model) -> None:
    """Bring a MODEL, with its patches, to where it is computed."""
    from comfy import model_management

    model_management.load_models_gpu([model])


def finish() -> None:
    """Wait until the device has done what it was asked for."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


@dataclass
class Passes:
    """rows: pictures that went through the network, each pass of each of them."""

    rows: int = 0

    def see(self, network, args: tuple, kwargs: dict) -> None:
        self.rows += len(args[0] if args else kwargs["x"])


@contextmanager
def counted(model: Model) -> Iterator[Passes]:
    """Counts what goes through the MODEL's network meanwhile."""
    passes = Passes()
    hook = model.model.diffusion_model.register_forward_pre_hook(passes.see, with_kwargs=True)
    try:
        yield passes
    finally:
        hook.remove()
