"""An exact teacher: a Gaussian mixture has a closed-form denoiser at every sigma.

Two classes of four modes each on a ring in the plane, as 2-channel 1x1 "latents" [b, 2, 1, 1]. The empty prompt is the
mixture of both classes. Every distillation method must bring few-step error below the undistilled sampler's.
"""

import math

import torch
from fewstep.training.data import Examples
from fewstep.training.path import Path
from torch import Tensor, nn

STD = 0.12
RADIUS = 1.3


def sd_sigmas() -> Tensor:
    """SD's scaled-linear schedule: sigma_t = sqrt((1 - abar_t) / abar_t), [1000]."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    abar = torch.cumprod(1 - betas, 0)
    return ((1 - abar) / abar).sqrt().float()


def centers() -> Tensor:
    """[8, 2] on a ring; even ones are class 0, odd ones class 1."""
    angle = torch.arange(8) * (2 * math.pi / 8)
    return RADIUS * torch.stack([angle.cos(), angle.sin()], 1)


class Mixture:
    """denoiser(y, sigma, cond) -> E[x0 | y]. cond: {"label": [b, 1] of 0, 1 or -1 for the empty prompt}.

    flow: y = (1 - sigma) x0 + sigma eps instead of x0 + sigma eps.
    """

    def __init__(self, flow: bool = False):
        self.flow = flow

    def __call__(self, y: Tensor, sigma: Tensor, cond: dict) -> Tensor:
        alpha = 1 - sigma if self.flow else torch.ones_like(sigma)
        alpha, sigma = alpha.view(-1, 1, 1), sigma.view(-1, 1, 1)  # [b, 1, 1]
        point, mean = y.view(-1, 1, 2), centers().to(y)[None]  # [b, 1, 2], [1, 8, 2]
        variance = (alpha * STD) ** 2 + sigma**2
        logits = -((point - alpha * mean) ** 2).sum(-1) / (2 * variance[..., 0])
        label = cond["label"].view(-1, 1)
        wrong = (label >= 0) & (torch.arange(8)[None] % 2 != label)
        weight = logits.masked_fill(wrong, -torch.inf).softmax(-1)[..., None]  # [b, 8, 1]
        posterior = mean + alpha * STD**2 / variance * (point - alpha * mean)  # E[x0 | y, mode]
        return (weight * posterior).sum(1).view_as(y)

    def sample_data(self, labels: Tensor, generator: torch.Generator) -> Tensor:
        mode = torch.randint(4, (len(labels),), generator=generator) * 2 + labels
        return (centers()[mode] + STD * torch.randn(len(labels), 2, generator=generator)).view(-1, 2, 1, 1)


class Student(nn.Module):
    """The exact teacher plus a learned correction that starts at zero, so that student = teacher at step 0."""

    def __init__(self, teacher: Mixture, path: Path, width: int = 128):
        super().__init__()
        self.teacher, self.path = teacher, path
        self.net = nn.Sequential(
            nn.Linear(2 + 2 + 16, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, 2),
        )
        nn.init.zeros_(self.net[-1].weight)
        nn.init.zeros_(self.net[-1].bias)

    def forward(self, y: Tensor, sigma: Tensor, cond: dict) -> Tensor:
        label = cond["label"].view(-1)
        one_hot = torch.stack([label == 0, label == 1], 1).float()
        scale = 1.0 if self.path.flow else (1 + sigma**2).sqrt()[:, None]
        time = (sigma.clamp(min=1e-3).log()[:, None] * 2.0 ** torch.arange(-3, 5)).float()
        features = torch.cat([y.view(-1, 2) / scale, one_hot, time.sin(), time.cos()], 1)
        return self.teacher(y, sigma, cond) + self.net(features).view_as(y)


def examples(count: int = 4096, seed: int = 0) -> Examples:
    """Data of both classes with their labels as conds."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    return Examples(
        latents=Mixture().sample_data(labels, generator),
        prompts=labels.tolist(),
        conds=[{"label": torch.tensor([[0]])}, {"label": torch.tensor([[1]])}],
        uncond={"label": torch.tensor([[-1]])},
    )


def sliced_w2(a: Tensor, b: Tensor, directions: int = 64) -> float:
    """Sliced Wasserstein-2 distance between two equally large clouds [n, 2]."""
    angle = torch.arange(directions) * (math.pi / directions)
    along = torch.stack([angle.cos(), angle.sin()])  # [2, directions]
    return ((a @ along).sort(0).values - (b @ along).sort(0).values).square().mean().sqrt().item()
