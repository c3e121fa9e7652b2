"""What the estimate of FewStep Distill says of published sizes over a base in fp8: the table of docs/training.md.

    python run.py bench memory/estimates

Method LCM, batches of 1 at 1024 x 1024, adamw8bit, no average. The networks are the host's own classes with the
published numbers, on tensors without memory; a prompt has as many tokens as its encoder gives or, where a text keeps
its own length, 128. Needs a host that has every class (0.33.0 has).
"""

import argparse
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from fewstep.benchmarks.methods import METHODS
from fewstep.benchmarks.sdxl import CONFIG as SDXL

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "training.md"
TABLE = re.compile(r"(?<=<!-- written by `run.py bench memory/estimates` -->\n\n).*?(?=\n\n)", re.DOTALL)
STORED = torch.float8_e4m3fn
SIDE = 1024
COLUMNS = {  # heading: settings of the run
    "rank 16": {"rank": 16, "gradient_checkpointing": True},
    "rank 64": {"rank": 64, "gradient_checkpointing": True},
    "without checkpointing, rank 16": {"rank": 16, "gradient_checkpointing": False},
}


@dataclass(frozen=True)
class Base:
    """family: the host's class; config: its published numbers; tokens, width, pooled: of its text."""

    family: str
    config: dict
    precision: str
    tokens: int
    width: int
    pooled: int = 768

    def tokenize(self, text: str) -> str:
        return text

    def encode_from_tokens_scheduled(self, tokens: str) -> list:
        """A text of that size as CONDITIONING, with Anima's second one."""
        more = {"t5xxl_ids": torch.zeros(self.tokens, dtype=torch.int), "t5xxl_weights": torch.ones(self.tokens)}
        return [[torch.zeros(1, self.tokens, self.width), {"pooled_output": torch.zeros(1, self.pooled), **more}]]


BASES = {
    "SDXL": Base("SDXL", SDXL, "fp16", 77, 2048, 1280),
    "Anima": Base(
        "Anima",
        {
            "image_model": "anima", "max_img_h": 240, "max_img_w": 240, "max_frames": 128, "in_channels": 16,
            "out_channels": 16, "patch_spatial": 2, "patch_temporal": 1, "model_channels": 2048, "num_blocks": 28,
            "num_heads": 16, "crossattn_emb_channels": 1024, "concat_padding_mask": True, "pos_emb_cls": "rope3d",
            "use_adaln_lora": True, "adaln_lora_dim": 256,
        },
        "bf16", 128, 1024,
    ),
    "Z-Image": Base(
        "ZImage",
        {
            "image_model": "lumina2", "patch_size": 2, "in_channels": 16, "dim": 3840, "cap_feat_dim": 2560,
            "n_layers": 30, "n_heads": 30, "n_kv_heads": 30, "axes_dims": [32, 48, 48], "axes_lens": [1536, 512, 512],
            "rope_theta": 256.0, "ffn_dim_multiplier": 8 / 3, "qk_norm": True, "z_image_modulation": True,
            "time_scale": 1000.0, "pad_tokens_multiple": 32,
        },
        "bf16", 128, 2560,
    ),
    "Flux": Base(
        "Flux",
        {
            "image_model": "flux", "in_channels": 16, "out_channels": 16, "vec_in_dim": 768, "context_in_dim": 4096,
            "hidden_size": 3072, "num_heads": 24, "mlp_ratio": 4.0, "depth": 19, "depth_single_blocks": 38,
            "axes_dim": [16, 56, 56], "theta": 10000, "patch_size": 2, "qkv_bias": True, "guidance_embed": True,
            "txt_ids_dims": [],
        },
        "bf16", 256, 4096,
    ),
    "Qwen-Image": Base(
        "QwenImage", {"image_model": "qwen_image", "in_channels": 64, "num_layers": 60}, "bf16", 128, 3584,
    ),
}  # fmt: skip


def model(base: Base):
    """A MODEL of the size, every weight in fp8 as the stock loader's weight_dtype has them, without memory."""
    import comfy.supported_models as supported
    from comfy.model_patcher import ModelPatcher

    config = getattr(supported, base.family)({**base.config, "dtype": STORED})
    config.set_inference_dtype(STORED, torch.bfloat16 if base.precision == "bf16" else torch.float16)
    with torch.inference_mode():
        made = config.get_model({}, "", device="meta")
    return ModelPatcher(made, load_device=torch.device("cpu"), offload_device=torch.device("cpu"))


def needs(base: Base) -> tuple[int, dict[str, float]]:
    """(weights of the network, {heading: bytes that the run needs})."""
    from fewstep.host.data import dataset
    from fewstep.host.training import memory
    from fewstep.host.training.job import Job
    from fewstep.training.config import TrainConfig

    spec, made, way = dataset.DataSpec(("a",), None, SIDE, SIDE, 1, 1, 1.0), model(base), METHODS["LCM"]()
    common = {"steps": 1, "batch_size": 1, "optimizer": "adamw8bit", "precision": base.precision, "ema_decay": 0.0}
    found = {}
    for heading, settings in COLUMNS.items():
        config = TrainConfig(**common, alpha=float(settings["rank"]), **settings)
        need = memory.of(Job(made, base, None, spec, way, config, "estimate", []))
        if need.note:
            raise RuntimeError(f"{base.family}: {need.text()}")
        found[heading] = need.memory
    return sum(p.numel() for p in made.model.diffusion_model.parameters()), found


def row(name: str) -> str:
    weights, found = needs(BASES[name])
    cells = " | ".join(f"{count / 1e9:.1f} GB" for count in found.values())
    return f"| {name} ({weights / 1e9:.1f} billion weights, {BASES[name].precision}) | {cells} |"


def table() -> str:
    head = ["base in fp8", *COLUMNS]
    return "\n".join([f"| {' | '.join(head)} |", "|---" * len(head) + "|", *map(row, BASES)])


def main() -> None:
    argparse.ArgumentParser(prog="run.py bench memory/estimates", description=__doc__.split("\n")[0]).parse_args()
    from fewstep.host import headless

    folder = Path(tempfile.mkdtemp(prefix="fewstep-estimates-"))
    headless.start(workdir=folder)
    from fewstep.host import folders

    folders.folder_paths.set_output_directory(str(folder))
    written, page = table(), PAGE.read_text(encoding="utf-8")
    print(written)
    PAGE.write_text(TABLE.sub(lambda _: written, page, count=1), encoding="utf-8")


if __name__ == "__main__":
    main()
