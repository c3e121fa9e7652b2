"""One training loop for the VAE and for the U-Net: AdamW, cosine decay, clipping, state that can be resumed."""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from .config import Budget, Recipe


class Run:
    """The state of one phase: network, EMA, optimizer, step and seconds, all in one file."""

    def __init__(
        self, net: nn.Module, groups: list[dict], recipe: Recipe, file: Path, ema: AveragedModel | None = None
    ):
        self.net, self.recipe, self.file, self.ema = net, recipe, file, ema
        self.optimizer = torch.optim.AdamW(groups, betas=recipe.betas)
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.step, self.seconds, self.losses = 0, 0.0, []
        if file.exists():
            self._load()

    def _load(self) -> None:
        state = torch.load(self.file, map_location="cpu", weights_only=True)
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.ema is not None:
            self.ema.load_state_dict(state["ema"])
        self.step, self.seconds, self.losses = state["step"], state["seconds"], state["losses"]

    def save(self) -> None:
        """Write the state; the rename is the commit point."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        state = {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict(), "step": self.step}
        state |= {"seconds": self.seconds, "losses": self.losses, "ema": self.ema.state_dict() if self.ema else None}
        part = self.file.with_suffix(".tmp")
        torch.save(state, part)
        part.replace(self.file)

    def train(self, loss_of: Callable[[torch.Generator], Tensor], budget: Budget) -> None:
        """Step until the budget is spent; `loss_of` draws its batch from a generator that depends on (seed, step)."""
        begun = time.monotonic() - self.seconds
        with tqdm(total=100, desc=self.file.stem, unit="%", initial=int(100 * self.over(budget))) as bar:
            while self.over(budget) < 1:
                self._turn(loss_of, self.over(budget))
                self.seconds = time.monotonic() - begun
                bar.update(int(100 * self.over(budget)) - bar.n)
                bar.set_postfix(step=self.step, loss=f"{sum(self.losses[-50:]) / len(self.losses[-50:]):.4f}")
                if self.step % self.recipe.save_every == 0:
                    self.save()
        self.save()
        log = {"phase": self.file.stem, "step": self.step, "minutes": round(self.seconds / 60, 1)}
        log |= {"losses": means(self.losses)}
        self.file.with_suffix(".json").write_text(json.dumps(log) + "\n", encoding="utf-8")

    def over(self, budget: Budget) -> float:
        """Return the share of the budget that is spent, 0..1."""
        return budget.done(self.step, self.seconds)

    def _turn(self, loss_of: Callable[[torch.Generator], Tensor], over: float) -> None:
        for group, rate in zip(self.optimizer.param_groups, self.rates):
            group["lr"] = rate * decay(over, self.recipe.warmup)
        loss = loss_of(torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + self.step))
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"{self.file.stem}: the loss is {loss.item()} at step {self.step}. Lower the rate."
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), self.recipe.clip)
        self.optimizer.step()
        if self.ema is not None:
            self.ema.update_parameters(self.net)
        self.step += 1
        self.losses.append(loss.item())


def decay(over: float, warmup: float) -> float:
    """Linear warm-up, then half a cosine to 0: (1 + cos(pi u)) / 2."""
    if over < warmup:
        return (over + 1e-3) / (warmup + 1e-3)
    return 0.5 * (1 + math.cos(math.pi * (over - warmup) / (1 - warmup)))


def means(losses: list[float], parts: int = 50) -> list[float]:
    """Return the mean loss of up to `parts` equal stretches."""
    stretch = max(1, -(-len(losses) // parts))
    pieces = (losses[i : i + stretch] for i in range(0, len(losses), stretch))
    return [round(sum(piece) / len(piece), 5) for piece in pieces]
