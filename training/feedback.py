"""Human feedback as a term that any student turn can add: a reward on the student's own decoded images."""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from .batch import Batch
from .checks import require
from .options import FeedbackOptions
from .path import Path
from .score import generate


def feedback(
    roles, path: Path, batch: Batch, options: FeedbackOptions, reward: Callable, decode: Callable
) -> tuple[Tensor, dict]:
    """mean relu(alpha - r). reward(images [b, 3, h, w] in 0..1, prompts) -> [b]; decode(latents) -> images.

    The log has the mean reward and the share of images that the hinge still pulls at.
    """
    require(batch.prompts is not None, "a reward needs the prompts' texts, but this data came as conditioning alone.")
    scores = reward(decode(generate(roles, path, batch, options)), batch.prompts)
    loss = options.fading(batch.step, batch.steps) * F.relu(options.alpha - scores).mean()
    pulled = (scores.detach() < options.alpha).float().mean()
    return loss, {"reward": scores.detach().mean(), "hinge_active": pulled}
