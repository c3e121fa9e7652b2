"""Networks by role: teacher, student, target (moving average), critic.

`roles(name, y, sigma, cond) -> x0`. With LoRA students all roles live on one base: the teacher is the base with
adapters off, every other role is a named adapter. With full weights each role is a module of its own behind the
same call.
"""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

TEACHER, DISCRIMINATOR = "teacher", "discriminator"
FIXED = ("target", "previous")  # roles that no optimizer moves


class ModuleRoles:
    """Separate denoisers by role: `{"teacher": f, "student": module}`. A role that is missing raises KeyError."""

    def __init__(self, denoisers: dict[str, Callable], discriminator: nn.Module | None = None, judging: str = TEACHER):
        self.denoisers, self.discriminator, self.judging = denoisers, discriminator, judging

    def __call__(self, role: str, y: Tensor, sigma: Tensor, cond) -> Tensor:
        return self.denoisers[role](y, sigma, cond)

    def parameters(self, role: str) -> dict[str, nn.Parameter]:
        module = self.discriminator if role == DISCRIMINATOR else self.denoisers[role]
        return {**dict(module.named_parameters()), **heads_of(self, role)}

    def select(self, role: str) -> None:
        """Nothing to switch: every role has weights of its own."""

    def copy(self, source: str, role: str) -> None:
        """Start one role from another's weights."""
        self.denoisers[role].load_state_dict(self.denoisers[source].state_dict())

    def judge(self, y: Tensor, sigma: Tensor, cond) -> Tensor:
        """The discriminator's logits [b, n]: it sees the noised latents themselves."""
        return self.discriminator([y / (1 + sigma**2).sqrt().view(-1, *[1] * (y.ndim - 1))])


def heads_of(roles, role: str) -> dict[str, nn.Parameter]:
    """The discriminator's heads, where they sit on that role's features and so learn in its turns (DMD2's critic)."""
    if roles.discriminator is None or roles.judging != role:
        return {}
    return {f"{DISCRIMINATOR}.{name}": p for name, p in roles.discriminator.named_parameters()}


class LoraRoles:
    """All roles on one base: adapters off is the teacher, each other role is a LoRA of that name.

    net: the base, its parameters outside inference mode; denoise(y, sigma, cond) -> x0 runs it; targets: names of the
    Linear and Conv2d modules to adapt. Roles are switched on the layers directly: peft's own `set_adapter` also flips
    requires_grad, and a switch between forward and backward would silently drop the student's gradient.
    """

    def __init__(
        self,
        net: nn.Module,
        denoise: Callable,
        targets: list[str],
        rank: int,
        alpha: float,
        roles: tuple[str, ...] = ("student",),
        seed: int = 0,
    ):
        from peft import LoraConfig, inject_adapter_in_model
        from peft.tuners.lora import LoraLayer

        self.net, self.denoise, self.active = net, denoise, TEACHER
        self.roles = roles = tuple(role for role in roles if role != DISCRIMINATOR)
        self.discriminator, self.tapped, self.judging = None, [], TEACHER
        net.requires_grad_(False)
        config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(targets), lora_dropout=0.0, bias="none")
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            # Several adapters on one base are the point here; and the same seed gives the same adapters.
            warnings.filterwarnings("ignore", message="Already found a `peft_config`")
            torch.manual_seed(seed)
            for role in roles:
                inject_adapter_in_model(config, net, adapter_name=role)
        self.layers = {name: layer for name, layer in net.named_modules() if isinstance(layer, LoraLayer)}
        for role in roles:
            for parameter in self.parameters(role).values():
                parameter.data = parameter.data.float()  # also over a half-precision base
                parameter.requires_grad_(role not in FIXED)
        for role in roles[1:]:
            self.copy(roles[0], role)
        self.select(TEACHER)

    def __call__(self, role: str, y: Tensor, sigma: Tensor, cond) -> Tensor:
        self.select(role)
        return self.denoise(y, sigma, cond)

    def parameters(self, role: str) -> dict[str, nn.Parameter]:
        """{"<module>.lora_A.weight": A, "<module>.lora_B.weight": B} of one role; the discriminator's own names."""
        if role == DISCRIMINATOR:
            return dict(self.discriminator.named_parameters())
        adapter = {
            f"{name}.{side}.weight": getattr(layer, side)[role].weight
            for name, layer in self.layers.items()
            for side in ("lora_A", "lora_B")
        }
        return {**adapter, **heads_of(self, role)}

    def select(self, role: str) -> None:
        """Make the next forward pass that role's, leaving every requires_grad as it is."""
        self.active = role
        for layer in self.layers.values():
            layer._disable_adapters = role == TEACHER
            layer._active_adapter = [] if role == TEACHER else [role]

    def add_discriminator(self, blocks: list[nn.Module], example: tuple, seed: int = 0, judging: str = TEACHER) -> None:
        """Heads on the outputs of these blocks, run as the role `judging`; example: (y, sigma, cond) of one sample."""
        from .adversarial import Discriminator, as_map

        self.tapped, self.judging = blocks, judging
        with torch.no_grad():
            widths = [as_map(found).shape[1] for found in self.tap(*example)]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.discriminator = Discriminator(widths).to(example[0].device)

    def tap(self, y: Tensor, sigma: Tensor, cond) -> list[Tensor]:
        """The judging role's features at y, one per tapped block."""
        found: list[Tensor] = []
        hooks = [block.register_forward_hook(lambda _, __, output: found.append(output)) for block in self.tapped]
        try:
            self(self.judging, y, sigma, cond)
        finally:
            for hook in hooks:
                hook.remove()
        return found

    def judge(self, y: Tensor, sigma: Tensor, cond) -> Tensor:
        """The discriminator's logits [b, n] on those features."""
        return self.discriminator(self.tap(y, sigma, cond))

    @torch.no_grad()
    def copy(self, source: str, role: str) -> None:
        """Start one role from another's weights."""
        for ours, theirs in zip(self.parameters(role).values(), self.parameters(source).values()):
            ours.copy_(theirs)


def checkpoint_blocks(roles: LoraRoles, blocks: list[nn.Module]) -> None:
    """Recompute each block in the backward pass instead of storing it, under the role of its forward pass.

    Without the role the recomputation would run as whichever role was called last, and give a wrong gradient silently.
    """
    from torch.utils.checkpoint import checkpoint

    def wrap(forward: Callable) -> Callable:
        def recomputed(*args, **kwargs):
            if not torch.is_grad_enabled():
                return forward(*args, **kwargs)
            role = roles.active

            def under_role(*inner, **inner_kwargs):
                if roles.active != role:
                    roles.select(role)
                return forward(*inner, **inner_kwargs)

            return checkpoint(under_role, *args, use_reentrant=False, **kwargs)

        return recomputed

    for block in blocks:
        block.forward = wrap(block.forward)


@torch.no_grad()
def update_average(average: dict[str, Tensor], student: dict[str, Tensor], decay: float) -> None:
    """theta- <- mu theta- + (1 - mu) theta."""
    torch._foreach_lerp_(list(average.values()), [p.detach() for p in student.values()], 1 - decay)
