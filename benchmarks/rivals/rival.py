"""The published recipe's iteration (LCM-LoRA; Luo et al. 2023) on diffusers' networks of SD1.5's size, random weights.

VAE and text encoder run in the loop, teacher and student are two U-Nets, the guided teacher is asked twice.
"""

import torch
from torch import Tensor

TARGETS = [
    "to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2", "conv1", "conv2",
    "conv_shortcut", "downsamplers.0.conv", "upsamplers.0.conv", "time_emb_proj",
]  # fmt: skip
SKIP, HUBER_C, SCALING, SIGMA_DATA = 20, 0.001, 10.0, 0.5


class Rival:
    """side: of the pictures in pixels; batch 1. iteration() is one optimizer step and returns its loss."""

    def __init__(self, side: int, rank: int):
        from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
        from peft import LoraConfig, inject_adapter_in_model
        from transformers import CLIPTextConfig, CLIPTextModel

        torch.manual_seed(0)
        self.teacher = unet(UNet2DConditionModel)
        self.student = unet(UNet2DConditionModel)
        self.student.load_state_dict(self.teacher.state_dict())
        inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=rank, target_modules=TARGETS), self.student)
        channels, down, up = (128, 256, 512, 512), ("DownEncoderBlock2D",) * 4, ("UpDecoderBlock2D",) * 4
        self.vae = AutoencoderKL(
            block_out_channels=channels, down_block_types=down, up_block_types=up, layers_per_block=2, latent_channels=4
        ).requires_grad_(False)
        large = CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12)
        self.text = CLIPTextModel(large).requires_grad_(False)
        self.alphas = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear").alphas_cumprod
        weights = [p for name, p in self.student.named_parameters() if "lora_" in name]
        self.optimizer = torch.optim.AdamW(weights, lr=1e-6)
        self.weights, self.picture = weights, torch.rand(1, 3, side, side) * 2 - 1
        self.tokens, self.empty = torch.randint(0, 49000, (1, 77)), torch.zeros(1, 77, dtype=torch.long)
        self.uncond = self.encode(self.empty)

    def iteration(self) -> float:
        with torch.no_grad():
            latents = self.vae.encode(self.picture).latent_dist.sample() * 0.18215
            cond = self.encode(self.tokens)
        t = torch.randint(0, 50, (1,)) * SKIP + SKIP - 1
        s, noise = (t - SKIP).clamp(min=0), torch.randn_like(latents)
        x = self.a(t) * latents + self.s(t) * noise
        jump = self.jump(self.student, x, t, cond)
        with torch.no_grad():
            w = 5 + 10 * torch.rand(1)
            eps_cond, eps_empty = (self.teacher(x, t, text).sample for text in (cond, self.uncond))
            eps = eps_cond + w * (eps_cond - eps_empty)
            x0 = (x - self.s(t) * eps) / self.a(t)
            target = self.jump(self.student, self.a(s) * x0 + self.s(s) * eps, s, cond)
        loss = ((jump - target).square() + HUBER_C**2).sqrt().sub(HUBER_C).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.item()

    @torch.no_grad()
    def encode(self, tokens: Tensor) -> Tensor:
        return self.text(tokens)[0]

    def a(self, t: Tensor) -> Tensor:
        return self.alphas[t].sqrt().view(-1, 1, 1, 1)

    def s(self, t: Tensor) -> Tensor:
        return (1 - self.alphas[t]).sqrt().view(-1, 1, 1, 1)

    def jump(self, net: torch.nn.Module, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        """c_skip x + c_out x0(x), the boundary of consistency models."""
        x0 = (x - self.s(t) * net(x, t, cond).sample) / self.a(t)
        scaled = SCALING * t.view(-1, 1, 1, 1)
        spread = scaled**2 + SIGMA_DATA**2
        return SIGMA_DATA**2 / spread * x + scaled / spread.sqrt() * x0


def unet(kind: type) -> torch.nn.Module:
    """A frozen U-Net of SD1.5's size."""
    return kind(sample_size=64, cross_attention_dim=768, attention_head_dim=8).requires_grad_(False)
