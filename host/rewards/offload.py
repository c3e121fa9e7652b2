"""Networks that a run brings onto the GPU and the host knows nothing of: those of rewards and critics."""

from weakref import WeakSet

import torch
from torch import nn

NETWORKS: WeakSet[nn.Module] = WeakSet()


def offloaded(network: nn.Module) -> nn.Module:
    """The network, which leaves the GPU after a run; whoever runs it moves it to where its images are."""
    NETWORKS.add(network)
    return network


def to_main_memory() -> None:
    """All of them into main memory: the host keeps the nodes' outputs, and with them the GPU's memory, after a run."""
    with torch.inference_mode(False):  # moved inside it, they could not be trained through again
        for network in NETWORKS:
            network.to("cpu")
