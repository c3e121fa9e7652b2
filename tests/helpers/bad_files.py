"""Every way a weight file goes wrong that the tests know: bytes that are no safetensors file, and useless tensors."""

import json
import math
import pickle
import struct

import torch
from safetensors.torch import save

MODULE = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
FEED_FORWARD = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_ff_net_2"  # [64, 256]
DOTTED = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
UP, DOWN, ALPHA = (f"{MODULE}.{part}" for part in ("lora_up.weight", "lora_down.weight", "alpha"))
SIDES = ("lora_up", "lora_down")
NAN, INF = float("nan"), float("inf")


def pair(width=64, out=64, rank=4, **changes) -> dict:
    """One module of the tiny base; changes: {key: tensor, or None to leave it out}."""
    file = {UP: torch.full((out, rank), 0.01), DOWN: torch.full((rank, width), 0.01), ALPHA: torch.tensor(4.0)}
    return {key: tensor for key, tensor in {**file, **changes}.items() if tensor is not None}


def header(text: bytes, data: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def described(data: int = 64, **entries) -> bytes:
    return header(json.dumps(entries).encode(), bytes(data))


F32 = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
WHOLE = save(pair())
NO_SAFETENSORS = {
    "empty": b"",
    "a single byte": b"{",
    "truncated header": WHOLE[:20],
    "truncated data": WHOLE[:-100],
    "header without its data": WHOLE[: 8 + struct.unpack("<Q", WHOLE[:8])[0]],
    "bytes after the end": WHOLE + bytes(16),
    "pickle": pickle.dumps({"weight": [1.0, 2.0]}),
    "zip, as torch saves": b"PK\x03\x04" + bytes(64),
    "gguf": b"GGUF\x03\x00\x00\x00" + bytes(64),
    "text": b"this is not a weight file at all, it is text",
    "a web page in its place": b"<!DOCTYPE html><html><head><title>Sign in</title></head><body></body></html>",
    "a pointer in its place": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 134621556\n",
    "absurd header length": b"\xff" * 8 + bytes(64),
    "header longer than the file": header(b"{}", length=4096),
    "header of no length": header(b""),
    "header is no JSON": header(b"{not json}"),
    "header is a list": header(b"[]"),
    "header is nested without end": header(b'{"a":' * 5000),
    "header is not UTF-8": header(b'{"__metadata__":{"a":"\xff\xfe"}}'),
    "metadata is no object": described(__metadata__=[1]),
    "overlapping offsets": described(24, a=F32, b={**F32, "data_offsets": [8, 24]}),
    "duplicate offsets": described(16, a=F32, b=F32),
    "offsets beyond the end": described(a={**F32, "data_offsets": [0, 999]}),
    "negative offsets": described(16, a={**F32, "data_offsets": [-16, 0]}),
    "offsets backwards": described(16, a={**F32, "data_offsets": [16, 0]}),
    "a gap between tensors": described(48, a=F32, b={**F32, "data_offsets": [32, 48]}),
    "fewer bytes than the shape": described(8, a={**F32, "data_offsets": [0, 8]}),
    "negative shape": described(16, a={**F32, "shape": [-4]}),
    "an enormous shape": described(16, a={**F32, "shape": [2**40, 2**40]}),
    "unknown dtype": described(16, a={**F32, "dtype": "F33"}),
    "no dtype": described(16, a={"shape": [4], "data_offsets": [0, 16]}),
    "no offsets": described(16, a={"dtype": "F32", "shape": [4]}),
}


def filled(tensor: torch.Tensor, value: float) -> torch.Tensor:
    """The same tensor with one number replaced: the last, which a look at the first few would miss."""
    changed = tensor.float().clone()
    changed.view(-1)[-1] = value
    return changed.to(tensor.dtype)


def module(parts: dict, name: str = MODULE) -> dict:
    """A module from {part: shape}."""
    return {f"{name}.{part}": torch.full(shape, 0.1) for part, shape in parts.items()}


LOHA = {"hada_w1_a": (64, 4), "hada_w1_b": (4, 64), "hada_w2_a": (64, 4), "hada_w2_b": (4, 64)}
LOHA_CORES = {"hada_t1": (4, 4, 3, 3), "hada_t2": (4, 4, 3, 3)} | {part: (4, 64) for part in LOHA}
LOKR = {"lokr_w1": (8, 8), "lokr_w2_a": (8, 4), "lokr_w2_b": (4, 8)}
LOKR_CORE = {"lokr_w1": (8, 8), "lokr_t2": (4, 4, 3, 3), "lokr_w2_a": (4, 8), "lokr_w2_b": (4, 8)}
TUCKER = {"lora_up.weight": (64, 4, 1, 1), "lora_mid.weight": (4, 4, 3, 3), "lora_down.weight": (4, 64, 1, 1)}


SIXTEEN = torch.full((64, 4), 0.01, dtype=torch.float16)
PEFT = {f"unet.{DOTTED}.lora_A.weight": torch.ones(4, 64), f"unet.{DOTTED}.lora_B.weight": torch.ones(64, 4)}
TENSORS = {
    "no tensors": ({}, "no tensors"),
    "NaN": (pair(**{UP: filled(torch.ones(64, 4), NAN)}), "NaN or infinite"),
    "NaN in fp16": (pair(**{UP: filled(SIXTEEN, NAN)}), "NaN or infinite"),
    "NaN in bf16": (pair(**{UP: filled(SIXTEEN.bfloat16(), NAN)}), "NaN or infinite"),
    "NaN in fp8": (pair(**{UP: filled(SIXTEEN.to(torch.float8_e4m3fn), NAN)}), "NaN or infinite"),
    "infinite": (pair(**{DOWN: filled(torch.ones(4, 64), INF)}), "NaN or infinite"),
    "minus infinite": (pair(**{DOWN: filled(torch.ones(4, 64), -INF)}), "NaN or infinite"),
    "infinite in fp8": (pair(**{DOWN: filled(torch.ones(4, 64).to(torch.float8_e5m2), INF)}), "NaN or infinite"),
    "alpha NaN": (pair(**{ALPHA: torch.tensor(NAN)}), "no scale"),
    "alpha infinite": (pair(**{ALPHA: torch.tensor(INF)}), "no scale"),
    "alpha zero": (pair(**{ALPHA: torch.tensor(0.0)}), "no scale"),
    "alpha a vector": (pair(**{ALPHA: torch.ones(3)}), "no scale"),
    "alpha of no number": (pair(**{ALPHA: torch.ones(0)}), "no scale"),
    "alpha alone": ({**pair(), f"{MODULE[:-1]}q.alpha": torch.tensor(4.0)}, "alpha but no weights"),
    "up without down": (pair(**{DOWN: None}), "no lora_down.weight"),
    "down without up": (pair(**{UP: None}), "no lora_up.weight"),
    "rank 0": (pair(rank=0), "no LoRA pair"),
    "ranks differ": (pair(**{UP: torch.ones(64, 3)}), "rank 3 above and 4 below"),
    "one-dimensional": (pair(**{UP: torch.ones(64), DOWN: torch.ones(64)}), "no LoRA pair"),
    "scalars": (pair(**{UP: torch.tensor(1.0), DOWN: torch.tensor(1.0)}), "no LoRA pair"),
    "LoHa in halves": (module({part: LOHA[part] for part in ("hada_w1_a", "hada_w2_a")}), "has no hada_w1_b"),
    "LoHa with one core": (module({part: LOHA_CORES[part] for part in ("hada_t1", *LOHA)}), "has no hada_t2"),
    "LoHa of two ranks": (module({**LOHA, "hada_w1_b": (3, 64)}), "do not go together"),
    "LoHa of two sizes": (module({**LOHA, "hada_w2_b": (4, 32)}), "do not go together"),
    "LoKr without a side": (module({"lokr_w1": (8, 8)}), "has no lokr_w2_a"),
    "LoKr without a half": (module({"lokr_w1": (8, 8), "lokr_w2_a": (8, 4)}), "has no lokr_w2_b"),
    "LoKr of two ranks": (module({**LOKR, "lokr_w2_b": (3, 8)}), "do not go together"),
    "a core of another rank": (module({**TUCKER, "lora_mid.weight": (3, 4, 3, 3)}), "do not go together"),
    "a core alone": (module({"lora_mid.weight": (4, 4, 3, 3)}), "has no lora_up.weight"),
    "integers": (pair(**{UP: torch.ones(64, 4, dtype=torch.int8)}), "is int8"),
    "booleans": (pair(**{UP: torch.ones(64, 4, dtype=torch.bool)}), "is bool"),
    "one weight twice": ({**pair(), f"unet.{DOTTED}.lora_A.weight": torch.ones(4, 64)}, "are the same weight"),
}


def other_base(width: int) -> dict:
    return pair(width=width)


def transformer(module: str, width: int, prefix: str = "transformer.") -> dict:
    return {
        f"{prefix}{module}.lora_A.weight": torch.zeros(2, width),
        f"{prefix}{module}.lora_B.weight": torch.zeros(width, 2),
    }


ON_THE_MODEL = {
    "SD1.5 on the tiny base": (other_base(768), "holds SD1.5 weights but the model is the tiny base"),
    "SD2 on the tiny base": (other_base(1024), "holds SD2.x weights"),
    "SDXL on the tiny base": (other_base(2048), "holds SDXL weights"),
    "the refiner's on the tiny base": (other_base(1280), "holds the SDXL refiner weights"),
    "SD3 on the tiny base": (transformer("transformer_blocks.0.attn.add_k_proj", 1536), "holds SD3 weights"),
    "Flux on the tiny base": (transformer("single_transformer_blocks.0.proj_mlp", 3072), "holds Flux weights"),
    "Wan on the tiny base": (transformer("blocks.0.self_attn.q", 5120, "diffusion_model."), "holds Wan weights"),
    "Qwen on the tiny base": (transformer("transformer_blocks.0.img_mod.1", 3072, ""), "holds Qwen-Image weights"),
    "LTX on the tiny base": (transformer("transformer_blocks.0.attn1.to_q", 4096), "holds LTX-Video weights"),
    "shapes do not fit": (pair(out=32), "the model's weight is"),
    "up and down swapped": (pair(**{UP: torch.ones(4, 64), DOWN: torch.ones(64, 4)}), "the model's weight is"),
    "a transposed pair of equal size": (
        module({"lora_up.weight": (256, 4), "lora_down.weight": (4, 64)}, FEED_FORWARD),
        "the model's weight is",
    ),
    "a transposed difference": ({f"{FEED_FORWARD}.diff": torch.ones(256, 64)}, "the model's weight is"),
    "a full difference of another size": ({f"{MODULE}.diff": torch.ones(3, 3)}, "the model's weight is"),
    "LoHa of another size": (module({**LOHA, "hada_w1_b": (4, 32), "hada_w2_b": (4, 32)}), "the model's weight is"),
    "LoKr of another size": (module({**LOKR, "lokr_w1": (4, 8)}), "the model's weight is"),
    "LoHa's kernel for a matrix": (module(LOHA_CORES), "the model's weight is"),
    "LoKr's kernel for a matrix": (module(LOKR_CORE), "the model's weight is"),
    "Tucker's kernel for a matrix": (module(TUCKER), "the model's weight is"),
    "unknown keys only": ({"something": torch.ones(2, 2)}, "only 0 of 1"),
    "most of it unknown": (
        {**pair(), **{f"lora_unet_extra_{i}.{side}.weight": torch.ones(2, 2) for i in range(9) for side in SIDES}},
        "only 2 of 20 tensors fit",
    ),
    "text encoder only": (
        {key.replace("lora_unet", "lora_te"): tensor for key, tensor in pair().items()},
        "holds no weights of the diffusion model",
    ),
    "a transformer's": ({f"transformer.x.{k}": torch.ones(4, 4) for k in ("lora_A.weight", "lora_B.weight")}, "0 of 2"),
    "a U-Net under a LoRA's name": ({"down_blocks.0.resnets.0.conv1.weight": torch.ones(8, 8, 3, 3)}, "only 0 of 1"),
    "a checkpoint under a LoRA's name": ({"model.diffusion_model.out.2.weight": torch.ones(4, 8, 3, 3)}, "only 0 of 1"),
    "an embedding under a LoRA's name": ({"emb_params": torch.ones(2, 768)}, "only 0 of 1"),
    "a part that the host does not know": ({f"{MODULE}.oft_diag_of_tomorrow": torch.ones(2, 2)}, "only 0 of 1"),
    "10,000 keys": ({f"lora_unet_blocks_{i}.diff": torch.ones(1) for i in range(10_000)}, "only 0 of 10000"),
}  # fmt: skip
METADATA = {
    "no JSON": ({"fewstep": "{"}, "metadata is damaged"),
    "no sampling": ({"fewstep": "{}"}, "metadata is damaged"),
    "a list": ({"fewstep": "[]"}, "metadata is damaged"),
    "unknown field": (
        {"fewstep": '{"sampling": {"family": "x", "steps": [1], "cfg_range": [1], "colour": 1}}'},
        "metadata is damaged",
    ),
    "of a later FewStep": (
        {
            "fewstep": '{"sampling": {"family": "x", "sampler": "new", "schedule": "lcm", "steps": [1, 1], '
            '"best_steps": 1, "cfg_range": [1, 1]}}'
        },
        "sampler 'new' on the schedule 'lcm', which this version of FewStep does not know",
    ),
    "PEFT's is no JSON": ({"lora_adapter_metadata": "{"}, "lora_adapter_metadata is damaged"),
    "PEFT's alpha is NaN": ({"lora_adapter_metadata": json.dumps({"lora_alpha": math.nan})}, "no scale"),
    "PEFT's pattern is a trap": (
        {"lora_adapter_metadata": json.dumps({"lora_alpha": 1, "alpha_pattern": {"(a+)+": 1}})},
        "no module's name",
    ),
}
NAMES = {
    "gone.safetensors": "is in no loras folder",
    "../gone.safetensors": "is in no loras folder",
    "/etc/passwd": "is in no loras folder",
    "folder.safetensors": "is in no loras folder",  # a directory
    "weights.pt": "is not a .safetensors file",
    "weights.ckpt": "is not a .safetensors file",
    "weights.bin": "is not a .safetensors file",
}
