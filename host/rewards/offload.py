"""Networks that a run lends the GPU and the host knows nothing of: those of rewards and critics."""

from weakref import WeakSet

import torch
from torch import nn

LENT: WeakSet[nn.Module] = WeakSet()


def lent(network: nn.Module) -> nn.Module:
    """The network, known to `take_back`; whoever runs it moves it to where its pictures are."""
    LENT.add(network)
    return network


def take_back() -> None:
    """All of them into main memory: the host keeps the nodes' outputs, and with them the GPU's memory, after a run."""
    with torch.inference_mode(False):  # moved inside it, they could not be trained through again
        for network in LENT:
            network.to("cpu")
