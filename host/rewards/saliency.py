"""u2netp as reward and as critic; one network for both."""

from functools import cache

from torch import Tensor

from ...training.perception import SaliencyCritic
from ...training.rewards import Clearness
from . import encoders

NETWORKS = ("u2netp",)


def reward_and_critic(node: str) -> tuple[Clearness, SaliencyCritic]:
    """(how clearly one thing stands out, how well it covers masks). Raises ValueError when a package is missing."""
    encoders.require_u2netp(node)
    network = cache(lambda: encoders.u2netp(node))

    def saliency(pictures: Tensor) -> Tensor:
        return network()(pictures)

    return Clearness("clearness (u2netp)", saliency), SaliencyCritic("saliency over masks (u2netp)", saliency)
