"""Networks by role: teacher, student, target (moving average), critic. `roles(name, y, sigma, cond) -> x0`.

With LoRA students all roles live on one base: the teacher is the base with adapters off, every other role is a named
adapter. With full weights a role is a network of its own behind the same call.
"""

import re
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from . import lora_forward, sharding
from .adversarial import Discriminator, as_map, conditions

TEACHER, DISCRIMINATOR = "teacher", "discriminator"
FIXED = ("target", "previous")  # roles that no optimizer moves


class ModuleRoles:
    """Separate denoisers by role: `{"teacher": f, "student": module}`. A role that is missing raises KeyError.

    features: the role whose features the discriminator's heads look at.
    """

    def __init__(self, denoisers: dict[str, Callable], discriminator: nn.Module | None = None, features: str = TEACHER):
        self.denoisers, self.discriminator, self.features = denoisers, discriminator, features

    def __call__(self, role: str, y: Tensor, sigma: Tensor, cond) -> Tensor:
        return self.denoisers[role](y, sigma, cond)

    def weights(self, role: str) -> dict[str, nn.Parameter]:
        return dict(self.denoisers[role].named_parameters())

    def parameters(self, role: str) -> dict[str, nn.Parameter]:
        """{name: weight} of a role, with the discriminator's heads where they learn in its turns (DMD2's critic)."""
        heads = {} if self.discriminator is None else dict(self.discriminator.named_parameters())
        if role == DISCRIMINATOR:
            return heads
        learning = heads.items() if role == self.features else ()
        return {**self.weights(role), **{f"{DISCRIMINATOR}.{name}": p for name, p in learning}}

    @torch.no_grad()
    def copy(self, source: str, role: str) -> None:
        """Start one role from another's weights."""
        for ours, theirs in zip(self.weights(role).values(), self.weights(source).values()):
            ours.copy_(theirs)

    def discriminator_logits(self, y: Tensor, sigma: Tensor, cond) -> list[Tensor]:
        """Each head's logits [b, n]: it sees the noised latents themselves."""
        seen = y / (1 + sigma**2).sqrt().view(-1, *[1] * (y.ndim - 1))
        return self.discriminator([seen], conditions(sigma, cond))


@dataclass(frozen=True)
class Adapter:
    """A role's LoRA. targets: names of the Linear and Conv2d modules that get it; the delta is alpha / rank * B A."""

    targets: tuple[str, ...]
    rank: int
    alpha: float


def equal_adapters(targets: Iterable[str], rank: int, alpha: float, roles=("student",)) -> dict[str, Adapter]:
    """One and the same LoRA for every role, the discriminator apart."""
    return {role: Adapter(tuple(targets), rank, alpha) for role in roles if role != DISCRIMINATOR}


class LoraRoles(ModuleRoles):
    """Roles on one base: adapters off is the teacher, each other role a LoRA of that name or a network of its own.

    net: the base, its parameters outside inference mode; denoise(y, sigma, cond) -> x0 runs it; adapters: {role: its
    LoRA}. Equal ones start equal. Roles are switched on the layers directly: peft's own `set_adapter` also flips
    requires_grad, and a switch between forward and backward would silently drop the student's gradient.
    wholes: {role: (network, denoise)} of the roles that are no LoRAs. With {"student": ...} and a critic on the base
    this is SwiftBrush v2's scheme A (section 4.4): one base and one copy.
    """

    def __init__(
        self,
        net: nn.Module,
        denoise: Callable,
        adapters: dict[str, Adapter],
        seed: int = 0,
        wholes: dict[str, tuple[nn.Module, Callable]] | None = None,
    ):
        from peft import LoraConfig, inject_adapter_in_model
        from peft.tuners.lora import LoraLayer

        super().__init__({})
        self.net, self.denoise, self.wholes, self.active, self.tapped = net, denoise, wholes or {}, None, []
        self.adapters, self.roles = adapters, tuple(adapters)
        net.requires_grad_(False)
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            # Several adapters on one base are the point here; and the same seed gives the same adapters.
            warnings.filterwarnings("ignore", message="Already found a `peft_config`")
            torch.manual_seed(seed)
            for role, own in adapters.items():
                # As a pattern, which must be the whole name: of a list peft takes any module whose name ends so.
                names = "|".join(map(re.escape, own.targets))
                settings = {"r": own.rank, "lora_alpha": own.alpha, "target_modules": names}
                inject_adapter_in_model(LoraConfig(**settings, lora_dropout=0.0, bias="none"), net, adapter_name=role)
        self.layers = {name: layer for name, layer in net.named_modules() if isinstance(layer, LoraLayer)}
        for layer in self.layers.values():
            layer.forward = partial(lora_forward.cheapest, layer, layer.forward)
        for role in (*adapters, *self.wholes):
            for parameter in self.weights(role).values():
                parameter.data = parameter.data.float()  # also over a half-precision base
                parameter.requires_grad_(role not in FIXED)
        first = next(iter(adapters), None)
        for role in (role for role, own in adapters.items() if role != first and own == adapters[first]):
            self.copy(first, role)
        self.select(TEACHER)

    def __call__(self, role: str, y: Tensor, sigma: Tensor, cond) -> Tensor:
        if role in self.wholes:
            return self.wholes[role][1](y, sigma, cond)
        self.select(role)
        return self.denoise(y, sigma, cond)

    def weights(self, role: str) -> dict[str, nn.Parameter]:
        """Of a LoRA: {"<module>.lora_A.weight": A, "<module>.lora_B.weight": B}."""
        if role in self.wholes:
            return dict(self.wholes[role][0].named_parameters())
        sides = ("lora_A", "lora_B")
        parts = ((f"{name}.{side}", getattr(layer, side)) for name, layer in self.layers.items() for side in sides)
        return {f"{name}.weight": adapters[role].weight for name, adapters in parts if role in adapters}

    def select(self, role: str) -> None:
        """Make the next forward pass that role's, leaving every requires_grad as it is."""
        if role == self.active:
            return
        self.active = role
        for layer in self.layers.values():
            layer._disable_adapters = role == TEACHER
            layer._active_adapter = [] if role == TEACHER else [role]

    def add_discriminator(self, blocks: list, example: tuple, seed: int = 0, features: str = TEACHER) -> None:
        """Heads on the outputs of these blocks, run as the role `features`; example: (y, sigma, cond) of one sample."""
        self.tapped, self.features = blocks, features
        with torch.no_grad():
            widths = [as_map(block_output).shape[1] for block_output in self.tap(*example)]
            told = conditions(*example[1:]).shape[1]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.discriminator = Discriminator(widths, told).to(example[0].device)

    def tap(self, y: Tensor, sigma: Tensor, cond) -> list[Tensor]:
        """That role's features at y, one per tapped block. Samples of unequal text run in parts, and come so."""
        outputs: list[Tensor] = []
        hooks = [block.register_forward_hook(lambda _, __, output: outputs.append(output)) for block in self.tapped]
        try:
            self(self.features, y, sigma, cond)
        finally:
            for hook in hooks:
                hook.remove()
        return outputs

    def discriminator_logits(self, y: Tensor, sigma: Tensor, cond) -> list[Tensor]:
        """Each head's logits [b, n] on those features."""
        outputs, blocks = self.tap(y, sigma, cond), len(self.tapped)
        parts = [outputs[i : i + blocks] for i in range(0, len(outputs), blocks)]
        told = conditions(sigma, cond).split([len(part[0]) for part in parts])
        logits = [self.discriminator(*part) for part in zip(parts, told)]
        return [torch.cat(of_head) for of_head in zip(*logits)]


def checkpoint_blocks(roles: LoraRoles, blocks: list[nn.Module]) -> None:
    """Recompute each block in the backward pass instead of storing it, under the role of its forward pass.

    Without the role the recomputation would run as whichever role was called last, and give a wrong gradient silently.
    """
    from torch.utils.checkpoint import checkpoint

    def under(role: str, forward: Callable, *args, **kwargs):
        roles.select(role)
        return forward(*args, **kwargs)

    def recomputed(forward: Callable, *args, **kwargs):
        if not torch.is_grad_enabled():
            return forward(*args, **kwargs)
        return checkpoint(under, roles.active, forward, *args, use_reentrant=False, **kwargs)

    for block in blocks:
        block.forward = partial(recomputed, block.forward)


@torch.no_grad()
def update_average(average: dict[str, Tensor], student: dict[str, Tensor], decay: float) -> None:
    """theta- <- mu theta- + (1 - mu) theta."""
    ours, theirs = ([sharding.own(p.detach()) for p in some.values()] for some in (average, student))
    torch._foreach_lerp_(ours, theirs, 1 - decay)
