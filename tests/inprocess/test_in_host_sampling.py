"""Our samplers through the host's own sampling, in this process: what reaches a sampler besides a plain batch."""

import importlib

import pytest
import torch

pytest.importorskip("comfy", reason="the embedded host is not installed here")
METHODS = ["lcm", "tcd", "ddim", "imagine_flash"]
MEAN, STD = 0.7, 0.4


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """(MODEL, CONDITIONING) of the tiny base, with an encoded prompt."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COMFYUI_DIR", raising=False)
        from fewstep.host import headless
        from fewstep.host.conditioning import encode_text
        from fewstep.host.folders import ASSETS

        headless.start(workdir=tmp_path_factory.mktemp("in-host"))
        model, clip, _ = headless.load_checkpoint(ASSETS / "checkpoints" / "fewstep-tiny-sd.safetensors")
        yield model, [[encode_text(clip, "red apple, 3d style")[0], {}]]


def sampled(model, cond, latent: dict, method: str, timesteps: list[int]) -> torch.Tensor:
    """What FewStepKSampler does, on explicit timesteps; without its previews, which the host has for pictures only."""
    from fewstep.host import sampling
    from fewstep.samplers.registry import SAMPLERS
    from fewstep.samplers.schedule import sigmas_of

    chosen = SAMPLERS[method]
    sampler = sampling.as_sampler(chosen.function, chosen.keywords(0.5, 7, latent.get("batch_index")))
    sigmas = sigmas_of(model.get_model_object("model_sampling"), timesteps)
    with torch.inference_mode(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling, "preview_callback", lambda *_: None)
        return sampling.sample_custom(model, 7, 1.0, cond, cond, sampler, sigmas, latent)["samples"]


def empty(count: int) -> dict:
    return {"samples": torch.zeros((count, 4, 12, 12))}


def by_frame(apply_model, given: dict) -> torch.Tensor:
    """Frames as pictures of a batch, as AnimateDiff's wrappers feed an image network."""
    x, sigma = given["input"], given["timestep"]
    frames = x.shape[2]
    flat = x.transpose(1, 2).flatten(0, 1)
    text = given["c"]["c_crossattn"].repeat_interleave(frames, 0)
    x0 = apply_model(flat, sigma.repeat_interleave(frames), c_crossattn=text)
    return x0.unflatten(0, (x.shape[0], frames)).transpose(1, 2)


@pytest.mark.parametrize("method", METHODS)
def test_video_latents_pass_and_every_frame_is_denoised(method, tiny):
    model, cond = tiny
    video = model.clone()
    video.set_model_unet_function_wrapper(by_frame)
    made = sampled(video, cond, {"samples": torch.zeros((2, 4, 3, 12, 12))}, method, [999, 499])
    assert made.shape == (2, 4, 3, 12, 12) and made.isfinite().all()
    assert (made[:, :, 0] - made[:, :, 1]).abs().mean() > 0.01  # unlike noise, unlike frames
    pictures = made.transpose(1, 2).flatten(0, 1).std(dim=(1, 2, 3))
    assert (pictures < 2 * sampled(model, cond, empty(1), method, [999, 499]).std()).all()


@pytest.fixture(scope="module")
def compiled(tiny):
    """As the host's TorchCompileModel puts it on a MODEL: an object patch."""
    model = tiny[0].clone()
    model.add_object_patch("diffusion_model", torch.compile(model.model.diffusion_model, backend="eager"))
    return model


@pytest.mark.parametrize("method", METHODS)
def test_a_compiled_network_gives_the_same_latents(method, tiny, compiled):
    model, cond = tiny
    plain = sampled(model, cond, empty(1), method, [999, 499])
    assert torch.allclose(sampled(compiled, cond, empty(1), method, [999, 499]), plain, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_a_picture_cut_out_of_a_masked_batch_stays_the_same(method, tiny):
    """batch_index and an inpainting mask at once: the index keeps its noise, the mask keeps the picture."""
    model, cond = tiny
    before = torch.randn((3, 4, 12, 12), generator=torch.Generator().manual_seed(2))
    mask = torch.ones((1, 1, 96, 96))
    mask[..., :48] = 0  # the left half is kept
    latent = {"samples": before, "noise_mask": mask, "batch_index": [0, 1, 2]}
    whole = sampled(model, cond, latent, method, [999, 749, 499, 249])
    assert torch.allclose(whole[..., :5], before[..., :5], atol=1e-3)
    assert (whole[..., 7:] - before[..., 7:]).abs().mean() > 0.1
    one = {"samples": before[2:], "noise_mask": mask, "batch_index": [2]}
    assert torch.allclose(sampled(model, cond, one, method, [999, 749, 499, 249]), whole[2:], atol=1e-3)


@pytest.mark.parametrize("last", [259, 1, 0])
@pytest.mark.parametrize("method", METHODS)
def test_what_a_mask_keeps_stays_where_the_last_step_is_near_zero(method, last, tiny):
    model, cond = tiny
    before = 4.7 * torch.randn((1, 4, 12, 12), generator=torch.Generator().manual_seed(2))  # as wide as SD's latents
    mask = torch.ones((1, 1, 96, 96))
    mask[..., :48] = 0
    made = sampled(model, cond, {"samples": before, "noise_mask": mask}, method, [999, 499, last])
    assert (made - before)[..., :5].abs().max() < 1e-3 * 4.7 and (made - before)[..., 7:].abs().mean() > 0.1


@pytest.mark.parametrize("method", METHODS)
def test_control_reaches_every_picture_of_a_batch(method, tiny, tmp_path):
    """A random ControlNet: nothing at strength 0, another picture at 1, and still one picture per batch index."""
    from comfy.controlnet import load_controlnet
    from fewstep.host.folders import ASSETS
    from fewstep.tests.helpers import tiny_controlnet

    model, cond = tiny
    tiny_controlnet.write(ASSETS / "checkpoints" / "fewstep-tiny-sd.safetensors", tmp_path / "c.safetensors")
    with torch.inference_mode():
        net = load_controlnet(str(tmp_path / "c.safetensors"))
    hint = torch.rand((1, 3, 96, 96), generator=torch.Generator().manual_seed(3))

    def controlled(strength: float, latent: dict) -> torch.Tensor:
        extra = {"control": net.copy().set_cond_hint(hint, strength), "control_apply_to_uncond": True}
        return sampled(model, [[cond[0][0], extra]], latent, method, [999, 499])

    batch = {**empty(2), "batch_index": [0, 1]}
    plain, off, on = sampled(model, cond, batch, method, [999, 499]), controlled(0.0, batch), controlled(1.0, batch)
    assert torch.allclose(plain, off, atol=1e-5)
    assert ((on - plain).abs().mean(dim=(1, 2, 3)) > 0.01).all()
    assert torch.allclose(controlled(1.0, {**empty(1), "batch_index": [1]}), on[1:], atol=1e-3)


class ExactV(torch.nn.Module):
    """The exact v of data drawn from N(MEAN, STD^2) in the network's place, asked with the paper's x_t and t."""

    def __init__(self, sampling, dtype):
        super().__init__()
        self.sampling, self.dtype = sampling, dtype

    def forward(self, x, timesteps, **_):
        sigma = self.sampling.sigma(timesteps.float()).view(-1, 1, 1, 1)
        a, s = 1 / (1 + sigma**2).sqrt(), sigma / (1 + sigma**2).sqrt()
        x0 = MEAN + a * STD**2 / ((a * STD) ** 2 + s**2) * (x - a * MEAN)
        return (a * x - x0) / s


def zero_snr(tiny):
    """The tiny base behind the host's own ModelSamplingDiscrete node, v prediction, zsnr on."""
    for name in ("comfy_extras.nodes.nodes_model_advanced", "comfy_extras.nodes_model_advanced"):
        try:
            node = importlib.import_module(name).ModelSamplingDiscrete
            break
        except ModuleNotFoundError:
            continue
    (patched,) = node().patch(tiny[0], "v_prediction", True)
    network = ExactV(patched.get_model_object("model_sampling"), tiny[0].model.get_dtype())
    patched.add_object_patch("diffusion_model", network)
    return patched


def walked(sampling, timesteps: list[int], x: torch.Tensor) -> torch.Tensor:
    """DDIM of the exact x0 by its own closed recursion in the paper's coordinates, in fp64."""
    x = x.double()
    for t, following in zip(timesteps, [*timesteps[1:], None]):
        abar = 1 / (1 + sampling.sigmas[t].double() ** 2)
        x0 = MEAN + abar.sqrt() * STD**2 / (abar * STD**2 + 1 - abar) * (x - abar.sqrt() * MEAN)
        if following is None:
            return x0
        eps = (x - abar.sqrt() * x0) / (1 - abar).sqrt()
        abar = 1 / (1 + sampling.sigmas[following].double() ** 2)
        x = abar.sqrt() * x0 + (1 - abar).sqrt() * eps
    return x


@pytest.mark.parametrize("method", METHODS)
def test_zero_snr_through_the_hosts_own_patch_starts_without_a_leak(method, tiny):
    """From pure noise one step can only give the mean, in the model's scale."""
    import comfy.sample

    model = zero_snr(tiny)
    made = model.model.process_latent_in(sampled(model, tiny[1], empty(2), method, [999]))
    if method == "tcd":  # ends at t = 0, where this much of the drawn noise is left
        sigma = model.get_model_object("model_sampling").sigmas[0]
        noise = comfy.sample.prepare_noise(empty(2)["samples"], 7, None)
        made = made * (1 + sigma**2).sqrt() - sigma * noise
    assert (made - MEAN).abs().max() < 2e-3


@pytest.mark.parametrize("method", ["ddim", "imagine_flash"])
def test_zero_snr_through_the_hosts_own_patch_walks_the_closed_form(method, tiny):
    """4 steps equal the recursion; noise correction is the identity there."""
    import comfy.sample

    model, timesteps = zero_snr(tiny), [999, 749, 499, 249]
    noise = comfy.sample.prepare_noise(empty(2)["samples"], 7, None)
    exact = walked(model.get_model_object("model_sampling"), timesteps, noise)
    made = model.model.process_latent_in(sampled(model, tiny[1], empty(2), method, timesteps))
    assert exact.std() > 0.15 and (made - exact).abs().max() < 5e-3


@pytest.mark.parametrize("method", ["lcm", "tcd"])
def test_zero_snr_through_the_hosts_own_patch_keeps_the_mean_of_the_data(method, tiny):
    model = zero_snr(tiny)
    made = sampled(model, tiny[1], {"samples": torch.zeros((2, 4, 48, 48))}, method, [999, 759, 499, 259])
    made = model.model.process_latent_in(made)
    assert made.mean() == pytest.approx(MEAN, abs=0.02) and 0.1 < made.std() < 1.2 * STD
