"""An SDXL-size LoRA loaded and patched in: FewStep Load LoRA beside the stock LoraLoaderModelOnly, in turn.

    python run.py bench loading [--repeats 3] [--rank 128] [--lora-dtype fp16] [--layers N]

The LoRA (rank 128 in fp16: 787 MB) has SDXL's names and shapes and random numbers; the base is its U-Net in fp16 with
zeros for weights, so that a machine with 8 GB of memory does. Loading is the node's whole call, with everything that
ours checks; patching is the host's own arithmetic on the weights, one after another and not kept.
"""

import argparse

import torch
from fewstep.benchmarks import measure, sdxl
from fewstep.host import folders, headless
from safetensors.torch import save_file

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
NAME = "hyper-sdxl-4steps-lora.safetensors"  # a name whose settings are known


def ours(model):
    from fewstep.nodes.load import FewStepLoadLora

    return FewStepLoadLora().load(model, NAME, 1.0, 4, 1.0)["result"][0]


def stock(model):
    """A loader of its own each time, because the stock one keeps the last file."""
    try:
        from comfy.nodes.base_nodes import LoraLoaderModelOnly  # the PyPI host
    except ImportError:
        from nodes import LoraLoaderModelOnly
    return LoraLoaderModelOnly().load_lora_model_only(model, NAME, 1.0)[0]


def patch(model, layers: int) -> None:
    """The host's arithmetic for the first `layers` patched weights; here a mapped file is read."""
    weights = model.model_state_dict()
    with torch.inference_mode():
        for key in list(model.patches)[:layers]:
            model.calculate_weight(model.patches[key], weights[key].float(), key)


def main() -> None:
    parser = argparse.ArgumentParser(prog="run.py bench loading", description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rank", type=int, default=128)
    parser.add_argument("--lora-dtype", choices=DTYPES, default="fp16")
    parser.add_argument("--layers", type=int, default=788, help="patched weights per run")
    args = parser.parse_args()
    headless.start()
    path = folders.lora_folder() / NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        save_file(sdxl.lora(args.rank, DTYPES[args.lora_dtype], 0), path)
        base, size = sdxl.model(torch.float16, "cpu"), path.stat().st_size
        before = measure.load()
        loading = measure.in_turn({"ours": lambda: ours(base), "stock": lambda: stock(base)}, args.repeats)
        both = {
            name: lambda loader=loader: patch(loader(base), args.layers)
            for name, loader in (("ours", ours), ("stock", stock))
        }
        patching = measure.in_turn(both, args.repeats)
    finally:
        path.unlink(missing_ok=True)
    print(f"{size / 1e6:.0f} MB, {before} before, {measure.load()} after; {args.repeats} repeats in turn\n")
    print(
        f"| what | s, ours | s, stock | median of the ratios | ratio of the CPU seconds | memory, ours |\n|{'---|' * 6}"
    )
    for title, runs in (("load", loading), ("load and patch", patching)):
        a, b = runs["ours"], runs["stock"]
        ratios = f"{a.ratio(b):.2f} | {a.ratio(b, 'cpu'):.2f}"
        print(f"| {title} | {a.median():.2f} | {b.median():.2f} | {ratios} | {max(a.memory):.2f} GB |")


if __name__ == "__main__":
    main()
