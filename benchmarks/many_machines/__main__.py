"""The table of docs/many-machines.md: `python run.py bench many_machines`. Counted and computed; nothing is timed.

Flux needs a host that knows it: COMFYUI_DIR names one."""

from fewstep.benchmarks.many_machines.networks import SIZES, Cost, cost
from fewstep.host import headless

PEAK, USED = 989e12, 0.3  # bf16 of an H100, dense, from its data sheet; the share of it that is assumed
LINK = 50e9  # bytes a second and GPU of the all-reduce: a 400 Gbit/s network
BATCH = 12  # samples of a GPU in a step, LCM-LoRA's
SAMPLES = 1_000_000
GPUS = (1, 8, 64)
# Passes of a sample in a step of LCM: the student's with its backward (into activations, not into the frozen weights),
# the target's, and the teacher's two of one guided solver step. Flux's guidance is an input: one pass.
PASSES = {"guided": 2 + 1 + 2, "distilled": 2 + 1 + 1}


def row(name: str, found: Cost) -> str:
    """One network: counted, then computed from it."""
    passes = PASSES["distilled" if name.startswith("Flux") else "guided"]
    work = passes * found.flops * BATCH / (PEAK * USED)
    sent = 4 * found.lora  # gradients in fp32
    steps = [work + 2 * (n - 1) / n * sent / LINK for n in GPUS]
    hours = " / ".join(f"{SAMPLES / (BATCH * n) * seconds / 3600:.1f}" for n, seconds in zip(GPUS, steps))
    shares = [f"{found.flops / 1e12:.2f}", f"{found.weights / 1e6:,.0f}", f"{found.lora / 1e6:,.0f}"]
    return " | ".join([f"| {name}", *shares, str(passes), f"{sent / 1e6:,.0f} MB", f"{work:.2f} s", f"{hours} |"])


def main() -> None:
    headless.start("cpu")
    from comfy import supported_models

    print("| network | TFLOP a pass | weights, millions | LoRA of rank 64, millions | passes a sample |", end="")
    print(
        f" all-reduced a step | computing a step | hours for {SAMPLES:,} samples on {' / '.join(map(str, GPUS))} GPUs |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name, size in SIZES.items():
        known = hasattr(supported_models, size.host_class)
        print(row(name, cost(size)) if known else f"| {name} | this host has no such network |", flush=True)


if __name__ == "__main__":
    main()
