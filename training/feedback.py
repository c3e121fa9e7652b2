"""Human feedback as terms that any student turn can add: rewards on the student's own decoded pictures."""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from .batch import Batch
from .checks import require
from .options import FeedbackOptions
from .path import Path
from .score import made


def feedback(
    roles, path: Path, batch: Batch, options: FeedbackOptions, reward: Callable, decode: Callable
) -> tuple[Tensor, dict]:
    """mean relu(alpha - r). reward(pictures [b, 3, h, w] in 0..1, prompts) -> [b]; decode(latents) -> pictures."""
    require(batch.prompts is not None, "A reward needs the prompts' texts, but this data came as conditioning alone.")
    scores = reward(decode(made(roles, path, batch, options)), batch.prompts)
    loss = options.fading(batch.step) * F.relu(options.alpha - scores).mean()
    return loss, {"reward": scores.detach().mean()}
