"""The VAE: a TAESD trained from scratch on crops, then scaled so that the host's latents have unit variance."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ...benchmarks.quality import data
from . import networks
from .config import Budget, Recipe
from .loop import Run

HOST_SCALE = 0.18215  # the host multiplies SD1.5 latents by this


def frames(pictures: list[Image.Image], recipe: Recipe) -> Tensor:
    """Place every picture `vae_frames` times in a transparent frame: uint8 [n, 4, 96, 96]."""
    rng = np.random.default_rng([recipe.seed, 10])
    placed = [np.asarray(data.place(picture, rng)) for picture in pictures for _ in range(recipe.vae_frames)]
    return torch.from_numpy(np.stack(placed)).permute(0, 3, 1, 2).contiguous()


def crops(placed: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Cut random squares out of random frames, on white (45 %) or a random colour. Returns [b, 3, c, c] in 0..1."""
    b, side, c = recipe.vae_batch, placed.shape[-1], recipe.crop
    which = torch.randint(len(placed), (b,), generator=generator)
    corners = torch.randint(side - c + 1, (b, 2), generator=generator)
    cut = torch.stack([placed[i, :, y : y + c, x : x + c] for i, (y, x) in zip(which, corners)]).float() / 255
    ground = torch.rand(b, 3, 1, 1, generator=generator)
    ground[torch.rand(b, generator=generator) < data.WHITE_SHARE] = 1
    colour, alpha = cut[:, :3], cut[:, 3:]
    return colour * alpha + ground * (1 - alpha)


def loss(net: nn.Module, x: Tensor) -> Tensor:
    """|y - x| + 2 (y - x)^2 for y = decode(encode(x)); x [b, 3, h, w] in 0..1."""
    error = net.taesd_decoder(net.taesd_encoder(x)) - x
    return error.abs().mean() + 2 * error.square().mean()


def train(pictures: list[Image.Image], recipe: Recipe, budget: Budget, folder: Path, device: str = "cpu") -> nn.Module:
    """Train a VAE and return it on the CPU with its scale set."""
    net = networks.vae(recipe.seed).to(device, memory_format=torch.channels_last)
    placed = frames(pictures, recipe)
    run = Run(
        net, [{"params": list(net.parameters()), "lr": recipe.vae_rate, "weight_decay": 0.0}], recipe, folder / "vae.pt"
    )
    run.train(lambda generator: loss(net, crops(placed, recipe, generator).to(device)), budget)
    set_scale(net, placed, recipe)
    return net.eval().requires_grad_(False).cpu()


@torch.no_grad()
def set_scale(net: nn.Module, placed: Tensor, recipe: Recipe, batches: int = 20) -> None:
    """vae_scale = 0.18215 std(encoder(x)), so that 0.18215 encoder(x) / vae_scale has unit variance."""
    device = net.vae_scale.device
    generators = (torch.Generator().manual_seed(recipe.seed + i) for i in range(batches))
    encoded = [net.taesd_encoder(crops(placed, recipe, g).to(device)) for g in generators]
    net.vae_scale.copy_(HOST_SCALE * torch.cat(encoded).std())


@torch.no_grad()
def latents(net: nn.Module, pictures: np.ndarray, device: str = "cpu", batch: int = 8) -> Tensor:
    """Encode uint8 pictures [n, h, w, 3] to the model's latents [n, 4, h/8, w/8] (unit variance), on the CPU."""
    parts = []
    for i in range(0, len(pictures), batch):
        x = torch.from_numpy(pictures[i : i + batch]).to(device).permute(0, 3, 1, 2).float() / 255
        parts.append((net.encode(2 * x - 1) * HOST_SCALE).cpu())
    return torch.cat(parts)


@torch.no_grad()
def psnr(net: nn.Module, pictures: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio of reconstructions in dB; pictures uint8 [n, h, w, 3]."""
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    parts = [net.decode(net.encode(2 * part - 1)).div(2).add(0.5).clamp(0, 1) for part in x.split(8)]
    return float(-10 * torch.log10((torch.cat(parts) - x).square().mean()))
