"""One product in the place of three: the same numbers, gradients and role; less work and memory where it is chosen."""

import pytest
import torch
from fewstep.training import lora_forward
from fewstep.training.roles import LoraRoles, equal_adapters
from torch import nn

LAYERS = {
    "linear": (lambda: nn.Linear(12, 20), (3, 40, 12)),
    "conv": (lambda: nn.Conv2d(6, 10, 3, padding=1), (2, 6, 9, 9)),
    "stride": (lambda: nn.Conv2d(6, 10, 3, stride=2, padding=1), (2, 6, 9, 9)),
    "pointwise": (lambda: nn.Conv2d(6, 10, 1, bias=False), (2, 6, 9, 9)),
}


class Lone(nn.Module):
    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer


def roles_on(layer: nn.Module, rank: int = 4) -> LoraRoles:
    net = Lone(layer.double())
    roles = LoraRoles(net, lambda y, *_: net.layer(y), equal_adapters(["layer"], rank, 6.0, ("student", "critic")))
    torch.manual_seed(1)
    for role in ("student", "critic"):
        for weight in roles.parameters(role).values():
            weight.data = torch.randn(weight.shape, dtype=torch.float64)
    return roles


def found(roles: LoraRoles, role: str, x: torch.Tensor) -> list[torch.Tensor]:
    """Output, its gradient by x and by the role's weights."""
    x = x.clone().requires_grad_()
    out = roles(role, x, None, None)
    if role == "teacher":
        return [out, *torch.autograd.grad(out.square().sum(), [x])]
    return [out, *torch.autograd.grad(out.square().sum(), [x, *roles.parameters(role).values()])]


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("role", ["student", "critic", "teacher"])
def test_numbers_and_gradients_are_those_of_three_products(kind, role, monkeypatch):
    make, shape = LAYERS[kind]
    torch.manual_seed(0)
    roles, x, chosen = roles_on(make()), torch.randn(shape, dtype=torch.float64), []
    monkeypatch.setattr(lora_forward, "one_product", lambda *_: chosen.append(1) or True)
    one = found(roles, role, x)
    monkeypatch.setattr(lora_forward, "one_product", lambda *_: False)
    three = found(roles, role, x)
    assert len(chosen) == (role != "teacher")
    for a, b in zip(one, three, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def chosen(layer: nn.Module, shape: tuple, rank: int, grad: bool, dtype=torch.float32) -> bool:
    with torch.set_grad_enabled(grad):
        return lora_forward.one_product(layer.to(dtype), torch.zeros(shape, dtype=dtype), rank)


def test_many_positions_on_narrow_layers_take_one_product_and_few_on_wide_ones_three():
    narrow, wide = nn.Linear(64, 64), nn.Linear(1280, 1280)
    assert chosen(narrow, (32, 144, 64), 64, grad=True) and chosen(narrow, (32, 144, 64), 64, grad=False)
    assert not chosen(wide, (1, 64, 1280), 64, grad=True) and not chosen(wide, (1, 64, 1280), 64, grad=False)
    # without a gradient nothing is kept, so that 1,024 positions are enough; with one the weight is more than A x
    assert chosen(wide, (1, 1024, 1280), 64, grad=False) and not chosen(wide, (1, 1024, 1280), 64, grad=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_keeps_the_lora_beside_its_weight(dtype):
    assert not chosen(nn.Linear(64, 64), (32, 144, 64), 64, grad=False, dtype=dtype)


def test_grouped_convolutions_keep_their_own_way():
    assert not chosen(nn.Conv2d(8, 8, 3, groups=2), (4, 8, 32, 32), 8, grad=False)


@pytest.mark.parametrize("rank", [4, 16, 64])
def test_what_is_kept_for_the_way_back_never_grows(rank):
    """Bytes that autograd saves, the layer's weights apart."""

    def kept(roles, x) -> int:
        own = {p.data_ptr() for p in roles.net.parameters()}
        seen: dict[int, int] = {}
        hooks = torch.autograd.graph.saved_tensors_hooks(
            lambda t: seen.setdefault(t.data_ptr(), t.nbytes) and t if t.data_ptr() not in own else t, lambda t: t
        )
        with hooks:
            roles("student", x, None, None).sum()
        return sum(seen.values())

    for width, count in [(16, 8), (16, 512), (64, 128), (64, 4096)]:
        roles, x = (
            roles_on(nn.Linear(width, width), rank),
            torch.randn(count, width, dtype=torch.float64, requires_grad=True),
        )
        forward = roles.layers["layer"].forward
        as_chosen = kept(roles, x)
        roles.layers["layer"].forward = forward.args[1]  # peft's own
        assert as_chosen <= kept(roles, x)
