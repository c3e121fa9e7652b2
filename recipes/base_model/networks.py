"""The host's own U-Net, CLIP text model and TAESD, with fresh weights and ready to be trained."""

import comfy.ops
import torch
from comfy.clip_model import CLIPTextModel
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from comfy.ldm.modules.diffusionmodules.util import make_beta_schedule
from comfy.sd1_clip import SD1Tokenizer
from comfy.taesd.taesd import TAESD
from fewstep.host.tiny_sd import TEXT_CONFIG
from torch import Tensor, nn

UNET = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 64,
    "channel_mult": (1, 2),
    "num_res_blocks": [1, 1],
    "transformer_depth": [1, 1],
    "transformer_depth_middle": 1,
    "transformer_depth_output": [1, 1, 1, 1],
    "context_dim": 64,
    "num_heads": 4,
    "num_head_channels": -1,
    "use_spatial_transformer": True,
    "use_linear_in_transformer": False,
    "legacy": False,
}
LEARNT = (nn.Linear, nn.Conv2d, nn.GroupNorm, nn.LayerNorm)


def fresh(net: nn.Module, seed: int) -> nn.Module:
    """Give every layer torch's default weights (the host's layers leave theirs uninitialised)."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for part in net.modules():
            kind = next((kind for kind in LEARNT if isinstance(part, kind)), None)
            if kind is not None:
                kind.reset_parameters(part)
            elif isinstance(part, nn.Embedding):
                part.weight.normal_(std=0.02)
    return net.requires_grad_(True).train()


def cloned_inputs(net: nn.Module) -> nn.Module:
    """Let each LayerNorm clone its input: the host's blocks add in place (`x += n`), which backward cannot follow."""
    for part in net.modules():
        if isinstance(part, nn.LayerNorm):
            part.register_forward_pre_hook(_clone_first)
    return net


def _clone_first(_: nn.Module, inputs: tuple) -> tuple:
    return (inputs[0].clone(), *inputs[1:])


class TinyModel(nn.Module):
    """Text encoder and U-Net: (x_t, t, tokens) -> eps."""

    def __init__(self, seed: int = 0):
        super().__init__()
        with torch.no_grad():
            self.unet = fresh(UNetModel(**UNET, operations=comfy.ops.disable_weight_init), seed)
            self.text = fresh(CLIPTextModel(dict(TEXT_CONFIG), None, "cpu", comfy.ops.disable_weight_init), seed + 1)
            self.text.text_projection.weight.copy_(torch.eye(TEXT_CONFIG["hidden_size"]))
            for last in (self.unet.out[-1], *(m.proj_out for m in self.unet.modules() if hasattr(m, "proj_out"))):
                for parameter in last.parameters():
                    parameter.zero_()  # blocks start as the identity, the output as 0
        cloned_inputs(self)

    def forward(self, x: Tensor, timesteps: Tensor, tokens: Tensor) -> Tensor:
        """x: [b, 4, h, w]; timesteps: [b] in 0..999; tokens: [b, 77]. Returns eps like x."""
        return self.unet(x, timesteps, context=self.text(tokens)[0])

    def token_embedding(self) -> nn.Parameter:
        """Return the token embeddings [49408, 64]."""
        return self.text.get_input_embeddings().weight


def vae(seed: int = 0) -> TAESD:
    """Return the host's TAESD with fresh weights and unit scale."""
    return fresh(TAESD(), seed)


def signal_and_noise() -> tuple[Tensor, Tensor]:
    """Return (a_t, s_t) [1000] each of SD's scaled-linear schedule: x_t = a_t x0 + s_t eps, a^2 + s^2 = 1."""
    betas = torch.as_tensor(make_beta_schedule("linear", 1000, linear_start=0.00085, linear_end=0.012))
    cumulative = torch.cumprod(1 - betas.double(), 0)
    return cumulative.sqrt().float(), (1 - cumulative).sqrt().float()


class Tokens:
    """The stock SD1 tokenizer: captions -> [n, 77] token ids."""

    def __init__(self) -> None:
        self._tokenizer, self._known = SD1Tokenizer(), {}

    def __call__(self, captions: list[str]) -> Tensor:
        for words in set(captions) - self._known.keys():
            pairs = self._tokenizer.tokenize_with_weights(words)["l"][0]
            self._known[words] = [int(pair[0]) for pair in pairs]
        return torch.tensor([self._known[words] for words in captions])

    def vocabulary(self) -> list[str]:
        """Return the text of every token id, word ends as blanks taken off."""
        by_id = sorted(self._tokenizer.sd_tokenizer.tokenizer.get_vocab().items(), key=lambda pair: pair[1])
        return [text.removesuffix("</w>") for text, _ in by_id]
