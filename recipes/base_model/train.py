"""Text encoder and U-Net, trained together to predict the noise."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from . import networks
from .config import Budget, Recipe
from .dataset import Latents
from .loop import Run
from .networks import TinyModel, Tokens


def groups(model: TinyModel, recipe: Recipe) -> list[dict]:
    """Split the parameters: the token embeddings have their own rate and no weight decay (most are never seen)."""
    tokens = model.token_embedding()
    rest = [parameter for parameter in model.parameters() if parameter is not tokens]
    return [
        {"params": rest, "lr": recipe.rate, "weight_decay": 0.01},
        {"params": [tokens], "lr": recipe.token_rate, "weight_decay": 0.0},
    ]


def loss_function(
    model: TinyModel, data: Latents, tokens: Tokens, recipe: Recipe, device: str
) -> Callable[[torch.Generator], Tensor]:
    """Return generator -> loss: mean of min(SNR, 5) / SNR |eps' - eps|^2 with SNR = a^2 / s^2 (Hang et al. 2023)."""
    a, s = (values.to(device) for values in networks.signal_and_noise())
    weight = (a / s).square().clamp(max=recipe.snr_cap) / (a / s).square()

    def loss(generator: torch.Generator) -> Tensor:
        x0, words = data.batch(recipe.batch, tokens, generator)
        t = torch.randint(1000, (len(x0),), generator=generator).to(device)
        eps = torch.randn(x0.shape, generator=generator).to(device)
        x_t = a[t].view(-1, 1, 1, 1) * x0.to(device) + s[t].view(-1, 1, 1, 1) * eps
        error = (model(x_t, t.float(), words.to(device)) - eps).square().mean((1, 2, 3))
        return (weight[t] * error).mean()

    return loss


def start(recipe: Recipe, embeddings: Tensor | None) -> TinyModel:
    """Return a fresh model, its token embeddings [49408, 64] as given or random."""
    model = TinyModel(recipe.seed)
    if embeddings is not None:
        with torch.no_grad():
            model.token_embedding().copy_(embeddings)
    return model


def train(
    model: TinyModel, data: Latents, recipe: Recipe, budget: Budget, file: Path, device: str = "cpu"
) -> tuple[TinyModel, list[float]]:
    """Train in place; return the average of the weights (what is shipped) and the losses."""
    from fewstep.host.model_copy import training_mode

    model = model.to(device)
    ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema))
    run = Run(model, groups(model, recipe), recipe, file, ema)
    with training_mode():
        run.train(loss_function(model, data, Tokens(), recipe, device), budget)
    return ema.module.cpu(), run.losses
