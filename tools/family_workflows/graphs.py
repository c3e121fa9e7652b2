"""Text to image with published few-step files: what a row of the table holds, and how each kind is wired."""

from collections.abc import Callable
from dataclasses import dataclass

PROMPT = "a red fox sitting in fresh snow, golden hour, photograph"


class Graph(dict):
    """A workflow in the API format, built node by node."""

    def add(self, class_type: str, **inputs) -> str:
        """Add a node; returns its id."""
        key = str(len(self) + 1)
        self[key] = {"class_type": class_type, "inputs": inputs}
        return key


@dataclass(frozen=True)
class File:
    """A file of the user's: its folder under models/, its name, the model page it is from, and what to do with it.

    path: where on that page the file lies, as the host's official templates give it; "" if they do not name it.
    """

    folder: str
    name: str
    page: str
    hint: str = ""
    path: str = ""

    @property
    def model(self) -> dict[str, str]:
        """What the page offers to fetch where the file is missing (`properties.models` of the node that loads it)."""
        url = f"https://huggingface.co/{self.page}/resolve/main/{self.path}"
        return {"name": self.name, "url": url, "directory": self.folder}

    def __str__(self) -> str:
        return f"models/{self.folder}/{self.name}\n  from {self.page}" + (f" ({self.hint})" if self.hint else "")


@dataclass(frozen=True)
class Row:
    """A workflow: its name, its few-step files, the base's files, and how they are wired."""

    name: str
    files: tuple[File, ...]
    base: tuple[File, ...]
    build: Callable[["Row"], Graph]
    steps: int = 4
    strength: float = 1.0
    size: int = 1024
    upstream: bool = False  # its base needs nodes or text encoders that the embedded host does not have
    shown: bool = True  # among the page's templates; False: wired as one that is, and only its file is another

    @property
    def file(self) -> File:
        return self.files[0]


def lora_loader(row: Row, graph: Graph, model: list, file: File, clip: list | None = None) -> str:
    inputs = {"model": model, "lora_name": file.name, "strength": row.strength, "steps": row.steps, "denoise": 1.0}
    return graph.add("FewStepLoadLora", **inputs, **({"clip": clip} if clip else {}), negative_prompt="")


def texts(graph: Graph, clip: list) -> tuple[list, list]:
    """(positive, negative)."""
    made = [graph.add("CLIPTextEncode", clip=clip, text=text) for text in (PROMPT, "")]
    return [made[0], 0], [made[1], 0]


def sampled(graph: Graph, positive: list, negative: list, latent: list, **inputs) -> list:
    """SamplerCustom; inputs: model, cfg, sampler, sigmas."""
    fixed = {"add_noise": True, "noise_seed": 1, "positive": positive, "negative": negative, "latent_image": latent}
    return [graph.add("SamplerCustom", **{**fixed, **inputs}), 0]


def saved(graph: Graph, row: Row, latent: list, vae: list) -> Graph:
    image = [graph.add("VAEDecode", samples=latent, vae=vae), 0]
    graph.add("SaveImage", images=image, filename_prefix=f"fewstep_{row.name}")
    return graph


def checkpoint_and_lora(row: Row, empty: str = "EmptyLatentImage") -> Graph:
    """A checkpoint with a few-step LoRA on it."""
    graph = Graph()
    base = graph.add("CheckpointLoaderSimple", ckpt_name=row.base[0].name)
    lora = lora_loader(row, graph, [base, 0], row.file, [base, 1])
    positive, negative = texts(graph, [lora, 1])
    latent = [graph.add(empty, width=row.size, height=row.size, batch_size=1), 0]
    parts = {"model": [lora, 0], "sampler": [lora, 2], "sigmas": [lora, 3], "cfg": [lora, 4]}
    return saved(graph, row, sampled(graph, positive, negative, latent, **parts), [base, 2])


def sd3_and_lora(row: Row) -> Graph:
    return checkpoint_and_lora(row, "EmptySD3LatentImage")


def whole_model(row: Row) -> Graph:
    """A few-step checkpoint, or a few-step U-Net beside a base's CLIP and VAE."""
    graph = Graph()
    options = {"denoise": 1.0, "guidance": 8.0, "family": "auto", "allow_partial": False}
    model = graph.add("FewStepLoadModel", model_name=row.file.name, steps=row.steps, **options)
    clip, vae = [model, 1], [model, 2]
    if row.base:
        base = graph.add("CheckpointLoaderSimple", ckpt_name=row.base[0].name)
        clip, vae = [base, 1], [base, 2]
    positive, negative = texts(graph, clip)
    latent = [graph.add("EmptyLatentImage", width=row.size, height=row.size, batch_size=1), 0]
    parts = {"model": [model, 0], "sampler": [model, 3], "sigmas": [model, 4], "cfg": [model, 5]}
    return saved(graph, row, sampled(graph, positive, negative, latent, **parts), vae)


def flux(row: Row) -> Graph:
    """Flux dev in parts, with its own guidance and the shift of the picture's size."""
    graph, size = Graph(), {"width": row.size, "height": row.size}
    unet, clip_l, t5, vae_file = row.base
    base = graph.add("UNETLoader", unet_name=unet.name, weight_dtype="default")
    clip = graph.add("DualCLIPLoader", clip_name1=clip_l.name, clip_name2=t5.name, type="flux")
    vae = graph.add("VAELoader", vae_name=vae_file.name)
    shifted = graph.add("ModelSamplingFlux", model=[base, 0], max_shift=1.15, base_shift=0.5, **size)
    lora = lora_loader(row, graph, [shifted, 0], row.file)
    positive, negative = texts(graph, [clip, 0])
    guided = [graph.add("FluxGuidance", conditioning=positive, guidance=3.5), 0]
    latent = [graph.add("EmptySD3LatentImage", **size, batch_size=1), 0]
    parts = {"model": [lora, 0], "sampler": [lora, 2], "sigmas": [lora, 3], "cfg": [lora, 4]}
    return saved(graph, row, sampled(graph, guided, negative, latent, **parts), [vae, 0])


def qwen(row: Row) -> Graph:
    """Qwen-Image in parts; the loader's sigmas hold the shift already."""
    graph = Graph()
    unet, text, vae_file = row.base
    base = graph.add("UNETLoader", unet_name=unet.name, weight_dtype="default")
    clip = graph.add("CLIPLoader", clip_name=text.name, type="qwen_image")
    vae = graph.add("VAELoader", vae_name=vae_file.name)
    lora = lora_loader(row, graph, [base, 0], row.file)
    positive, negative = texts(graph, [clip, 0])
    latent = [graph.add("EmptySD3LatentImage", width=row.size, height=row.size, batch_size=1), 0]
    parts = {"model": [lora, 0], "sampler": [lora, 2], "sigmas": [lora, 3], "cfg": [lora, 4]}
    return saved(graph, row, sampled(graph, positive, negative, latent, **parts), [vae, 0])


def wan(row: Row) -> Graph:
    """Wan 2.2's two experts, each with its LoRA and its half of the sigmas, in one sampling."""
    graph, loras = Graph(), []
    *unets, text, vae_file = row.base
    clip = graph.add("CLIPLoader", clip_name=text.name, type="wan")
    vae = graph.add("VAELoader", vae_name=vae_file.name)
    for unet, file in zip(unets, row.files):
        base = graph.add("UNETLoader", unet_name=unet.name, weight_dtype="default")
        loras.append(lora_loader(row, graph, [base, 0], file))
    positive, negative = texts(graph, [clip, 0])
    latent = [graph.add("EmptyHunyuanLatentVideo", width=row.size, height=row.size, length=81, batch_size=1), 0]
    high, low = loras
    parts = {"high_model": [high, 0], "low_model": [low, 0], "sampler": [high, 2]}
    parts |= {"sigmas": [high, 3], "sigmas_low": [low, 3], "boundary": 0.875, "cfg": "1"}
    first = {"first_step": "as the others", "first_cfg": 3.5}
    texts_and_noise = {"positive": positive, "negative": negative, "latent_image": latent, "noise_seed": 1}
    made = graph.add("FewStepTwoModelSampler", **parts, **texts_and_noise, **first)
    frames = [graph.add("VAEDecode", samples=[made, 0], vae=[vae, 0]), 0]
    video = {"fps": 16.0, "lossless": False, "quality": 80, "method": "default"}
    graph.add("SaveAnimatedWEBP", images=frames, filename_prefix=f"fewstep_{row.name}", **video)
    return graph
