"""A small random Mask R-CNN in a file."""

import torch
from safetensors.torch import save_file
from torchvision.models import detection


def resnet18_file(path, suffix: str):
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

    backbone = resnet_fpn_backbone(backbone_name="resnet18", weights=None, norm_layer=torch.nn.BatchNorm2d)
    network = detection.MaskRCNN(backbone, 3)
    tensors = {key: value.half() for key, value in network.state_dict().items() if "num_batches" not in key}
    file = path / f"small{suffix}"
    save_file(tensors, file) if suffix == ".safetensors" else torch.save({"model": tensors}, file)
    return file.name, tensors
