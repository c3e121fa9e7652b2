"""Reward networks from local files, and a VAE decoder that lets gradients through."""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from weakref import WeakValueDictionary

import comfy
import torch
from torch import Tensor

from ...training.rewards import AestheticScore, ClipSimilarity, head_layers
from ...weights import io
from .. import folders, model_copy
from ..sockets import Model, Vae
from .offload import offloaded

NO_FOLDER = "none"
A_CLIP = "a CLIP model (a folder with config.json and model.safetensors, as Hugging Face has them)"


def names(endings: tuple[str, ...] = ()) -> list[str]:
    """Folders (or files with one of these endings) in the models folder's `fewstep_rewards`."""
    root = folders.reward_folder()
    entries = sorted(root.iterdir()) if root.is_dir() else []
    kept = [path.name for path in entries if (path.suffix in endings if endings else (path / "config.json").is_file())]
    return kept or [NO_FOLDER]


def local(name: str, node: str, what: str = A_CLIP) -> Path:
    """The path of a listed name. Raises ValueError with what to put where."""
    root = folders.reward_folder()
    path = folders.inside(root, name, f"{node}: name")
    if name == NO_FOLDER or not path.exists():
        raise ValueError(f"{node}: there is no {name!r} in models/fewstep_rewards. Put {what} there, then refresh.")
    return path


def torch_file(path: Path, node: str) -> dict:
    """What a .pt or .pth file holds, tensors and plain values only. Raises ValueError when there is more or less."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its reader stumbled over; every kind means the same to the user
        raise ValueError(
            f"{node}: {path.name} cannot be read as a file of plain tensors ({error}). Download it again."
        ) from error


class ClipFolder:
    """A local CLIP folder, loaded when first used and frozen. Rewards on one folder share one network."""

    def __init__(self, path: Path, node: str):
        self.path, self.node, self.loaded = path, node, None
        self.size = image_size(path, node)

    def model(self):
        if self.loaded is None:
            self.loaded = load_clip(self.path, self.node)
        return self.loaded

    def image(self, pixels: Tensor) -> Tensor:
        return pooled(self.model()[0].to(pixels.device).get_image_features(pixel_values=pixels))

    def text(self, prompts: list[str]) -> Tensor:
        network, tokenizer = self.model()
        tokens = tokenizer(prompts, padding=True, truncation=True, max_length=77, return_tensors="pt")
        device = next(network.parameters()).device
        return pooled(network.get_text_features(**{key: value.to(device) for key, value in tokens.items()}))


# The rewards of the graphs that are alive hold the folders; this only knows them, and forgets them with the last one.
CLIP_FOLDERS: WeakValueDictionary[tuple, ClipFolder] = WeakValueDictionary()


def clip_folder(name: str, node: str) -> ClipFolder:
    """The folder's networks, the same ones for every reward as long as its files are."""
    path = local(name, node)
    key = (path, tuple(sorted((file.name, file.stat().st_mtime_ns) for file in path.iterdir())))
    shared = CLIP_FOLDERS.get(key)
    if shared is None:
        shared = CLIP_FOLDERS[key] = ClipFolder(path, node)
    return shared


def pooled(output) -> Tensor:
    """Features as a tensor: later versions of transformers wrap them."""
    return output if isinstance(output, Tensor) else output.pooler_output


def load_clip(path: Path, node: str):
    """(CLIPModel in fp32 outside inference mode, tokenizer). Reads local safetensors only."""
    from transformers import CLIPModel, CLIPTokenizer

    tokens = path if (path / "vocab.json").is_file() else Path(list(comfy.__path__)[0]) / "sd1_tokenizer"
    try:
        with torch.inference_mode(False):
            network = CLIPModel.from_pretrained(path, local_files_only=True, use_safetensors=True).float()
            tokenizer = CLIPTokenizer.from_pretrained(tokens, local_files_only=True)
            return offloaded(network.eval().requires_grad_(False)), tokenizer
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ValueError(f"{node}: {path.name} is no CLIP model that can be read ({said(error, path)}).") from error


def said(error: Exception, path: Path) -> str:
    """What a library says, without the way to the file: workflows show it."""
    return str(error).replace(str(path), path.name)


def image_size(path: Path, node: str) -> int:
    from transformers import CLIPConfig

    try:
        return CLIPConfig.from_pretrained(path, local_files_only=True).vision_config.image_size
    except (OSError, ValueError) as error:
        raise ValueError(f"{node}: {path.name} is no CLIP model that can be read ({said(error, path)}).") from error


def clip_similarity(name: str, node: str) -> ClipSimilarity:
    clip = clip_folder(name, node)
    return ClipSimilarity(f"CLIP similarity ({name})", clip.image, clip.text, clip.size)


def aesthetic(name: str, head: str, node: str) -> AestheticScore:
    """A head from a .safetensors file on the image features of a local CLIP."""
    clip = clip_folder(name, node)
    try:
        with torch.inference_mode(False):
            layers = head_layers(io.load(local(head, node))[0])
    except ValueError as error:
        raise ValueError(f'{node}: "{head}": {error}') from error
    return AestheticScore(f"aesthetic score ({head})", clip.image, layers, clip.size)


def decoder(model: Model, vae: Vae, device: torch.device, whole: bool = False) -> Callable[[Tensor], Tensor]:
    """decode(latents in the MODEL's scale) -> pictures [b, 3, h, w], about 0..1, with gradient.

    The stock entry point cuts the gradient; this runs a copy of the VAE's network, its weights in fp32. whole: also
    where autocast halves them, for runs in fp16, in which SDXL's VAE overflows.
    """
    with torch.inference_mode(False), torch.no_grad():
        network = model_copy.to_trainable(vae.first_stage_model, torch.float32).to(device).eval()
    return partial(decoded, model.model.process_latent_out, network, whole)


def decoded(to_vae: Callable, network, whole: bool, latents: Tensor) -> Tensor:
    with torch.autocast(latents.device.type, enabled=False) if whole else nullcontext():
        return (network.decode(to_vae(latents)) + 1) / 2
