"""Perceptual loss from instance segmentation: what a frozen segmenter says of the student's picture of a training
picture, held against that picture's own masks. Source: Hyper-SD (Ren et al. 2024), section 3.2."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .batch import CHANCE, STEP, Batch
from .checks import require
from .options import PerceptionOptions
from .path import Path
from .rewards import soft_iou
from .rollout import rollout


@dataclass(frozen=True)
class Instances:
    """The things of one picture. masks: [n, h, w] bool, none empty; labels: [n], a number or a name each."""

    masks: Tensor
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def boxes(self) -> Tensor:
        """[n, 4]: x1, y1, x2, y2 around each mask, in pixels."""
        found = []
        for mask in self.masks:
            rows, columns = (torch.nonzero(mask.any(axis)).flatten() for axis in (1, 0))
            found.append(torch.stack([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]))
        return torch.stack(found).float()


def denoised(roles, path: Path, batch: Batch, options: PerceptionOptions) -> Tensor:
    """x0' of the student: x0 is noised to t_a, denoised without gradient to one of the timesteps below it, d_t."""
    t_a = torch.full_like(batch.clean, options.timesteps[0])
    noised = path.noise(batch.x0, batch.noise, t_a)
    below = max(len(options.timesteps) - 1, 1)
    index = batch.randint(STEP, below) + (len(options.timesteps) > 1)
    y = rollout(roles, path, batch, options.timesteps, index, "ddim", start=noised)
    d_t = torch.tensor(options.timesteps, device=index.device)[index]
    return roles("student", y, path.sigma(d_t), batch.cond)


def perception(
    roles, path: Path, batch: Batch, options: PerceptionOptions, critic: Callable, decode: Callable
) -> tuple[Tensor, dict]:
    """critic(images [b, 3, h, w] in 0..1, [Instances], seed) -> loss. Images without masks are left out."""
    require(
        batch.instances is not None,
        "This loss needs pictures with masks, and the data has none. Give FewStepDataset a folder with pictures that "
        "have an alpha channel or a name.mask.png beside name.png.",
    )
    x0 = denoised(roles, path, batch, options)
    images = decode(x0)
    instances = batch.instances(*images.shape[-2:])
    masked = [i for i, of_image in enumerate(instances) if len(of_image)]
    if not masked:
        return 0.0 * x0.sum(), {}
    seed = int(batch.uniform[0, CHANCE] * 2**31)  # the segmenter draws samples of its own
    loss = critic(images[masked], [instances[i] for i in masked], seed)
    return loss, {"perception": loss.detach()}


@dataclass
class InstanceCritic:
    """The training losses of a detector in torchvision's manner: Mask R-CNN's class, box, mask, objectness, proposals.

    classes: {name: number} of the labels that may be names. The network is in training mode, for its losses, but its
    normalisation is not; it draws its samples from a generator seeded by the batch, so that a resumed run repeats them.
    """

    name: str
    network: Callable[[], nn.Module]
    count: int  # classes, the ground (0) among them
    classes: dict[str, int]

    def __call__(self, pictures: Tensor, instances: list[Instances], seed: int) -> Tensor:
        network = for_losses(self.network()).to(pictures.device)
        targets = [self.target(one, pictures.device) for one in instances]
        with torch.random.fork_rng([pictures.device] if pictures.device.type == "cuda" else []):
            torch.manual_seed(seed)
            return sum(network(list(pictures.float()), targets).values())

    def target(self, instances: Instances, device: torch.device) -> dict[str, Tensor]:
        labels = torch.tensor([self.number(label) for label in instances.labels])
        found = {"boxes": instances.boxes(), "labels": labels, "masks": instances.masks.byte()}
        return {key: value.to(device) for key, value in found.items()}

    def number(self, label: str) -> int:
        """The class number of a label. Raises ValueError with those that there are."""
        number = int(label) if label.isdigit() else self.classes.get(label.lower(), -1)
        names = f" or a name, such as {', '.join(list(self.classes)[:3])}" if self.classes else ""
        known = f"a number from 1 to {self.count - 1}{names}"
        require(0 < number < self.count, f"{self.name}: it has no class {label!r}. A mask's class is {known}.")
        return number


def for_losses(network: nn.Module) -> nn.Module:
    """Training mode for the losses; batch statistics and dropout as in use."""
    network.train()
    for part in network.modules():
        if isinstance(part, nn.modules.batchnorm._NormBase | nn.modules.dropout._DropoutNd):
            part.eval()
    return network


@dataclass
class SaliencyCritic:
    """1 - soft IoU of a saliency map and all masks of the picture together. saliency(pictures) -> [b, h, w] in 0..1."""

    name: str
    saliency: Callable[[Tensor], Tensor]

    def __call__(self, pictures: Tensor, instances: list[Instances], seed: int) -> Tensor:
        regions = torch.stack([one.masks.any(0) for one in instances]).to(pictures.device)
        return (1 - soft_iou(self.saliency(pictures), regions)).mean()
