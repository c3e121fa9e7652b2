"""Our LCM and TCD samplers beside the host's `lcm` and `euler`: seconds at equal steps, in one run, taking turns.

    python run.py bench samplers [--repeats 15] [--batch 32] [--steps 4]

The network is the tiny base; every repeat runs all samplers in an order that rotates, so that other work on the machine
falls on all of them alike. CPU seconds are of all threads and feel other work least. The second table is the samplers'
own work: a network that only halves its input, latents of one picture of 1024 x 1024.
"""

import argparse
from collections.abc import Callable

import torch
from fewstep.benchmarks import measure
from fewstep.host import headless

ROWS = (("lcm", "lcm"), ("tcd", "lcm"), ("tcd", "euler"), ("ddim", "euler"))  # ours, the host's


def sampled(model, cond: list, sampler, sigmas, noise) -> None:
    import comfy.sample

    with torch.inference_mode():
        comfy.sample.sample_custom(
            model, noise, 1.0, sampler, sigmas, cond, cond, torch.zeros_like(noise), disable_pbar=True, seed=1
        )


def build(steps: int, batch: int, device: str = "cpu") -> dict[str, Callable[[], None]]:
    """{"ours lcm": a run of it, ...} on one model with one noise."""
    headless.start(device)
    from comfy.samplers import KSAMPLER, sampler_object
    from fewstep.host.conditioning import encode_text
    from fewstep.host.folders import ASSETS
    from fewstep.samplers.registry import SAMPLERS
    from fewstep.samplers.schedule import lcm_timesteps, sigmas_of

    model, clip, _ = headless.load_checkpoint(ASSETS / "checkpoints" / "fewstep-tiny-sd.safetensors")
    cond = [[encode_text(clip, "red apple, 3d style")[0], {}]]
    sigmas = sigmas_of(model.get_model_object("model_sampling"), lcm_timesteps(steps))
    noise = torch.randn((batch, 4, 12, 12), generator=torch.Generator().manual_seed(0))
    found = {}
    for ours, theirs in ROWS:
        own = KSAMPLER(SAMPLERS[ours].function, extra_options=SAMPLERS[ours].keywords(0.3, 1))
        for name, sampler in ((f"ours {ours}", own), (f"host {theirs}", sampler_object(theirs))):
            found[name] = lambda sampler=sampler: sampled(model, cond, sampler, sigmas, noise)
    return found


class Halving:
    """A network that costs next to nothing, as a sampler sees it."""

    def __init__(self, model_sampling):
        self.model_sampling, self.inner_model = model_sampling, self

    def __call__(self, x, sigma, **_):
        return x / 2


def bare(steps: int, size: int) -> dict[str, Callable[[], None]]:
    """The same samplers around `Halving`, twenty runs each."""
    from comfy.model_sampling import EPS, ModelSamplingDiscrete
    from comfy.samplers import sampler_object
    from fewstep.samplers.registry import SAMPLERS
    from fewstep.samplers.schedule import lcm_timesteps, sigmas_of

    network = Halving(type("Sampling", (ModelSamplingDiscrete, EPS), {})())
    sigmas, noise = sigmas_of(network.model_sampling, lcm_timesteps(steps)), torch.randn(1, 4, size, size)

    def runs(function, options):
        for _ in range(20):
            function(network, noise * sigmas[0], sigmas, {"seed": 1}, disable=True, **options)

    found = {}
    for ours, theirs in ROWS:
        found[f"ours {ours}"] = lambda ours=SAMPLERS[ours]: runs(ours.function, ours.keywords(0.3, 1))
        found[f"host {theirs}"] = lambda theirs=theirs: runs(sampler_object(theirs).sampler_function, {})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="run.py bench samplers", description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=4)
    args = parser.parse_args()
    found = measure.in_turn(build(args.steps, args.batch), args.repeats)
    print(f"{measure.load()}; {args.repeats} repeats in turn\n")
    print("| ours | host | s a step, ours | median of the ratios | ratio of the fastest | ratio of the CPU seconds |")
    print(f"|{'---|' * 6}")
    for ours, theirs in ROWS:
        a, b = found[f"ours {ours}"], found[f"host {theirs}"]
        ratios = f"{a.ratio(b):.3f} | {min(a.seconds) / min(b.seconds):.3f} | {a.ratio(b, 'cpu'):.3f}"
        print(f"| {ours} | {theirs} | {a.median() / args.steps:.3f} | {ratios} |")
    own = measure.in_turn(bare(args.steps, 128), args.repeats)
    print("\n| sampler alone | ms a step (fastest run) | CPU ms a step (median) |\n|---|---|---|")
    for name, runs in own.items():
        fastest, cpu = (s / 20 / args.steps * 1000 for s in (min(runs.seconds), runs.median("cpu")))
        print(f"| {name} | {fastest:.2f} | {cpu:.2f} |")


if __name__ == "__main__":
    main()
