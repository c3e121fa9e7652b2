"""The host's own sampling preview of the tiny base has the colours of its pictures."""

import pytest
import torch
from fewstep.tests.helpers.in_process import PROMPTS
from torch.nn import functional

pytest.importorskip("comfy", reason="the embedded host is not installed here")


def test_the_preview_of_a_latent_has_about_the_colours_of_its_picture(tiny):
    from comfy import latent_formats
    from comfy.cmd import latent_preview
    from fewstep.host import conditioning, sampling

    model, clip, vae = tiny
    encoded = [conditioning.encode_text(clip, prompt) for prompt in [*PROMPTS, ""]]
    noise = sampling.unit_noise((4, 12, 12), 3, [0, 1])
    latents = sampling.draw(model, encoded[:-1], encoded[-1], noise, steps=8, cfg=3.0)
    with torch.inference_mode():
        pixels = vae.decode(latents).float().clamp(0, 1).movedim(-1, 1)
    for latent, picture in zip(model.model.process_latent_in(latents), functional.avg_pool2d(pixels, 8)):
        for latent_format, near in ((model.model.latent_format, True), (latent_formats.SD15(), False)):
            previewer = latent_preview.Latent2RGBPreviewer(latent_format.latent_rgb_factors)
            shown = torch.tensor(list(previewer.decode_latent_to_preview(latent[None]).getdata())).view(12, 12, 3) / 255
            assert near == bool((shown - picture.movedim(0, -1)).square().mean().sqrt() < 0.2)
