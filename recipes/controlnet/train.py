"""The control branch: a copy of the frozen base's encoder that also sees the edges (Zhang et al. 2023, section 3)."""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from comfy import ops
from comfy.cldm.cldm import ControlNet
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..base_model import networks
from ..base_model.config import Budget, Recipe
from ..base_model.export import DATA
from ..base_model.loop import Run
from ..base_model.networks import TinyModel, Tokens
from .data import Edges

PARTS = {
    "unet": "model.diffusion_model.",
    "text": "cond_stage_model.transformer.",
    "vae": "first_stage_model.",
}
PREFIX = "control_model."
TIMES = (200, 1000)  # where the outline is decided
WEIGHT_CAP = 25.0
TOLD = ("seed", "batch", "rate", "repeats", "betas", "clip", "warmup")  # of the recipe, in the file


def base(checkpoint: Path) -> tuple[TinyModel, nn.Module]:
    """The tiny base's (U-Net with text encoder, VAE), frozen, in fp32."""
    file, model, vae = load_file(checkpoint), TinyModel(), networks.vae()
    for name, net in (("unet", model.unet), ("text", model.text), ("vae", vae)):
        weights = {k.removeprefix(PARTS[name]): v.float() for k, v in file.items() if k.startswith(PARTS[name])}
        net.load_state_dict(weights, strict=name != "vae")  # some hosts' TAESD has a shift more
    return model.requires_grad_(False).eval(), vae.requires_grad_(False).eval()


def fresh(model: TinyModel, edges: Tensor, seed: int) -> ControlNet:
    """A control branch with the encoder's weights and zero output convolutions: at first it changes nothing.

    edges: some [b, 3, h, w], by which the layers that read them are scaled: edges are so sparse that torch's own
    initial weights would let nothing of them through eight layers.
    """
    config = {key: value for key, value in networks.UNET.items() if key != "out_channels"}
    net = ControlNet(**config, hint_channels=3, operations=ops.disable_weight_init)
    networks.cloned_inputs(networks.fresh(net, seed))
    encoder = {name: value for name, value in model.unet.state_dict().items() if name in net.state_dict()}
    net.load_state_dict(net.state_dict() | encoder)
    with torch.no_grad():
        for parameter in (*net.zero_convs.parameters(), *net.middle_block_out.parameters()):
            parameter.zero_()
        for layer in net.input_hint_block:
            edges = layer(edges)
            if isinstance(layer, nn.Conv2d):  # unit deviation after each (Mishkin & Matas 2016, without the rounds)
                scale = edges.std()
                layer.weight.div_(scale)
                layer.bias.zero_()
                edges = edges / scale
    return net


def controlled(model: TinyModel, net: ControlNet, x: Tensor, t: Tensor, edges: Tensor, words: Tensor) -> Tensor:
    """eps of the frozen base with the branch's outputs added to its skip connections and its middle."""
    with torch.no_grad():
        context = model.text(words)[0]
    *skips, middle = net(x, edges, t, context)
    return model.unet(x, t, context=context, control={"output": skips, "middle": [middle]})


def loss_function(
    model: TinyModel, net: ControlNet, data: Edges, recipe: Recipe
) -> Callable[[torch.Generator], Tensor]:
    """generator -> min(1 / a_t^2, 25) |eps' - eps|^2: the v loss, as shapes are decided at high noise."""
    a, s = networks.signal_and_noise()
    weight = a.square().reciprocal().clamp(max=WEIGHT_CAP)
    tokens = Tokens()

    def loss(generator: torch.Generator) -> Tensor:
        x0, edges, words = data.batch(recipe.batch, tokens, generator)
        t = torch.randint(*TIMES, (len(x0),), generator=generator)
        eps = torch.randn(x0.shape, generator=generator)
        x_t = a[t].view(-1, 1, 1, 1) * x0 + s[t].view(-1, 1, 1, 1) * eps
        error = (controlled(model, net, x_t, t.float(), edges, words) - eps).square().mean((1, 2, 3))
        return (weight[t] * error).mean()

    return loss


def train(model: TinyModel, data: Edges, recipe: Recipe, budget: Budget, state: Path) -> tuple[ControlNet, Run]:
    """Train a fresh branch, or go on where `state` is."""
    from fewstep.host.model_copy import training_mode

    net = fresh(model, data.edges[:64].float().expand(-1, 3, -1, -1), recipe.seed)
    run = Run(net, [{"params": list(net.parameters()), "lr": recipe.rate}], recipe, state)
    with training_mode():
        run.train(loss_function(model, net, data, recipe), budget)
    return net, run


def save(net: ControlNet, file: Path, recipe: Recipe, made: dict) -> None:
    """Write it in the layout of the original ControlNet files, fp16, with how it was made in its metadata."""
    metadata = {
        "modelspec.title": "FewStep tiny SD, edges",
        "modelspec.architecture": "stable-diffusion-v1/fewstep-tiny/controlnet",
        "modelspec.license": "Apache-2.0",
        "fewstep.data": DATA,
        "fewstep.recipe": json.dumps(
            {name: getattr(recipe, name) for name in TOLD} | {"times": TIMES, "weight_cap": WEIGHT_CAP}
        ),
        "fewstep.made": json.dumps(made),
    }
    tensors = {PREFIX + name: value.detach().half().contiguous() for name, value in net.state_dict().items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(file.name + ".tmp")
    save_file(tensors, part, metadata=metadata)
    part.chmod(0o644)  # safetensors writes files only their owner can read
    part.replace(file)
