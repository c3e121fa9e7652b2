"""Our LCM and TCD samplers beside the host's `lcm` and `euler`: seconds at equal steps, in one run, taking turns.

    python run.py bench samplers [--repeats 15] [--batch 32] [--steps 4]

The network is the tiny base; every repeat runs all samplers in an order that rotates, so that other work on the machine
falls on all of them alike.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from fewstep.host import headless

ROWS = (("lcm", "lcm"), ("tcd", "lcm"), ("tcd", "euler"), ("ddim", "euler"))  # ours, the host's


def sampled(model, cond: list, sampler, sigmas, noise) -> None:
    import comfy.sample

    with torch.inference_mode():
        comfy.sample.sample_custom(
            model, noise, 1.0, sampler, sigmas, cond, cond, torch.zeros_like(noise), disable_pbar=True, seed=1
        )


def build(steps: int, batch: int) -> dict[str, Callable[[], None]]:
    """{"ours lcm": a run of it, ...} on one model with one noise."""
    headless.start()
    from comfy.samplers import KSAMPLER, sampler_object
    from fewstep.host.conditioning import encode_text
    from fewstep.host.folders import ASSETS
    from fewstep.nodes.sample import METHODS, sampler_options
    from fewstep.samplers.schedule import lcm_timesteps, sigmas_of

    model, clip, _ = headless.load_checkpoint(ASSETS / "checkpoints" / "fewstep-tiny-sd.safetensors")
    cond = [[encode_text(clip, "red apple, 3d style")[0], {}]]
    sigmas = sigmas_of(model.get_model_object("model_sampling"), lcm_timesteps(steps))
    noise = torch.randn((batch, 4, 12, 12), generator=torch.Generator().manual_seed(0))
    found = {}
    for ours, theirs in ROWS:
        own = KSAMPLER(METHODS[ours][0], extra_options=sampler_options(ours, 0.3, 1))
        for name, sampler in ((f"ours {ours}", own), (f"host {theirs}", sampler_object(theirs))):
            found[name] = lambda sampler=sampler: sampled(model, cond, sampler, sigmas, noise)
    return found


def measure(runs: dict[str, Callable[[], None]], repeats: int) -> dict[str, list[float]]:
    """Seconds of every run, after one that warms up."""
    names = list(runs)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for repeat in range(-1, repeats):
        for name in names[repeat % len(names) :] + names[: repeat % len(names)]:
            started = time.perf_counter()
            runs[name]()
            if repeat >= 0:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(prog="run.py bench samplers", description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=4)
    args = parser.parse_args()
    seconds = measure(build(args.steps, args.batch), args.repeats)
    print(f"| ours | host | s a step, ours | median of the ratios | ratio of the fastest |\n|{'---|' * 5}")
    for ours, theirs in ROWS:
        a, b = seconds[f"ours {ours}"], seconds[f"host {theirs}"]
        ratio = statistics.median(x / y for x, y in zip(a, b))
        per_step = statistics.median(a) / args.steps
        print(f"| {ours} | {theirs} | {per_step:.3f} | {ratio:.3f} | {min(a) / min(b):.3f} |")


if __name__ == "__main__":
    main()
