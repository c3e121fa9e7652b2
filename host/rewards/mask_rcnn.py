"""torchvision's Mask R-CNN from the user's own file."""

from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from ...training.checks import require
from ...training.perception import InstanceCritic
from ...weights import io
from . import clip
from .offload import offloaded

ENDINGS = (".safetensors", ".pth", ".pt")
HEAD = "roi_heads.box_predictor.cls_score.weight"
# Which ResNet: (has a third convolution a block, blocks of its third stage).
RESNETS = {(False, 2): "resnet18", (False, 6): "resnet34", (True, 6): "resnet50", (True, 23): "resnet101"}
EPS = 0.0  # torchvision's own COCO files of the first version were trained with it


def critic(name: str, min_size: int, node: str) -> InstanceCritic:
    """The critic of a file in fewstep_rewards. min_size: pixels of the shorter side that the network looks at."""
    path = clip.local(name, node, "a Mask R-CNN of torchvision as a .safetensors or .pth file")
    require_torchvision(node)
    tensors = read(path, node)
    require(
        HEAD in tensors and "roi_heads.mask_predictor.mask_fcn_logits.weight" in tensors,
        f"{node}: {name} is no Mask R-CNN of torchvision (it has no {HEAD}).",
    )
    count = len(tensors[HEAD])
    network = cache(lambda: build(tensors, count, min_size, name, node))
    return InstanceCritic(f"Mask R-CNN ({name})", network, count, coco_names() if count == 91 else {})


def require_torchvision(node: str) -> None:
    try:
        import torchvision.models.detection  # noqa: F401 (asked for early, so that the sentence comes early)
    except ImportError as error:
        raise ValueError(
            f"{node}: it needs torchvision in the host's Python ({error}). Install the version that fits your torch."
        ) from error


def read(path: Path, node: str) -> dict[str, Tensor]:
    """The file's tensors; a .pth may hold them under "model", as torchvision's training script writes."""
    if path.suffix == ".safetensors":
        return io.load(path)[0]
    tensors = clip.torch_file(path, node)
    require(isinstance(tensors, dict), f"{node}: {path.name} holds no state dict.")
    return tensors.get("model", tensors)


def coco_names() -> dict[str, int]:
    """{name: number} of COCO's 91 numbers, from torchvision's own list."""
    from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights as Weights

    listed = Weights.COCO_V1.meta["categories"]
    return {name: i for i, name in enumerate(listed) if name not in ("N/A", "__background__")}


def build(tensors: dict[str, Tensor], count: int, min_size: int, name: str, node: str) -> nn.Module:
    """The network that fits the tensors, frozen, in fp32 and outside inference mode."""
    from torchvision.models.detection import MaskRCNN, maskrcnn_resnet50_fpn_v2
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

    sizes = {"min_size": min_size, "max_size": 2 * min_size}
    with torch.inference_mode(False):
        if "backbone.fpn.inner_blocks.0.1.weight" in tensors:  # the second version normalises in the pyramid too
            network = maskrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None, num_classes=count, **sizes)
        else:
            options = {"backbone_name": resnet_of(tensors, name, node), "weights": None, "norm_layer": batch_norm}
            network = MaskRCNN(resnet_fpn_backbone(**options), count, **sizes)
        missing, unknown = network.load_state_dict(tensors, strict=False)
        lost = [key for key in missing if not key.endswith("num_batches_tracked")]
        require(not lost and not unknown, f"{node}: {name} does not fit ({', '.join([*lost, *unknown][:3])}).")
        return offloaded(network.float().requires_grad_(False))


def batch_norm(width: int) -> nn.Module:
    """Frozen: torch 2.11's own batch norm refuses an eps of 0."""
    from torchvision.ops import FrozenBatchNorm2d

    return FrozenBatchNorm2d(width, eps=EPS)


def resnet_of(tensors: dict[str, Tensor], name: str, node: str) -> str:
    third = "backbone.body.layer1.0.conv3.weight" in tensors
    blocks = len([key for key in tensors if key.startswith("backbone.body.layer3.") and key.endswith(".conv1.weight")])
    known = ", ".join(RESNETS.values())
    require((third, blocks) in RESNETS, f"{node}: the backbone of {name} is none of {known}.")
    return RESNETS[third, blocks]
