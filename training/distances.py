"""How far two predictions are apart."""

from torch import Tensor


def distance(a: Tensor, b: Tensor, kind: str, c: float = 0.001) -> Tensor:
    """d(a, b): mean squared error, or pseudo-Huber mean(sqrt((a - b)^2 + c^2) - c), in fp32."""
    difference = a.float() - b.float()
    if kind == "l2":
        return difference.square().mean()
    return ((difference.square() + c**2).sqrt() - c).mean()
