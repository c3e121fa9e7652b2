"""Human feedback as terms that any student turn can add: rewards on the student's own decoded pictures."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from .batch import Batch
from .config import check_fields, require
from .matching import made
from .path import Path


@dataclass(frozen=True, kw_only=True)
class FeedbackOptions:
    """relu(alpha - r(decode(x0))): a hinge, so that a picture that is good enough is left alone.

    Hyper-SD (section 3.2) sums it over its rewards, with alpha unpublished; SwiftBrush v2's clamped CLIP loss has the
    same form with alpha = tau = 0.35 and a weight falling from 0.1 to zero. x0 is reached by a rollout to a random
    student timestep, and one step carries the gradient (ReFL).
    """

    timesteps: tuple[int, ...] = (999,)
    alpha: float = 0.35
    stochastic: bool = True
    reward: str = ""  # its name, for the run's settings
    weight: float = 1.0
    fade_steps: int = 0  # the weight falls linearly to zero at this step; 0: it stays

    def __post_init__(self):
        check_fields(self, "Feedback: ", falling=("timesteps",))
        require(self.fade_steps >= 0, f"Feedback: fade_steps must not be negative, got {self.fade_steps}.")

    def fading(self, step: int) -> float:
        return max(0.0, 1 - step / self.fade_steps) if self.fade_steps else 1.0


def feedback(
    roles, path: Path, batch: Batch, options: FeedbackOptions, reward: Callable, decode: Callable
) -> tuple[Tensor, dict]:
    """mean relu(alpha - r). reward(pictures [b, 3, h, w] in 0..1, prompts) -> [b]; decode(latents) -> pictures."""
    require(batch.prompts is not None, "A reward needs the prompts' texts, but this data came as conditioning alone.")
    scores = reward(decode(made(roles, path, batch, options)), batch.prompts)
    loss = options.fading(batch.step) * F.relu(options.alpha - scores).mean()
    return loss, {"reward": scores.detach().mean()}
