"""The LiT reward put to use: short LCM runs from the shipped student, one a weight of the feedback (0 is none), all
judged on held-out captions by the reward itself and by a net that no reward uses (EfficientNet-Lite0, nearest real
picture).

    python -m benchmarks.rewards.student --weights 0,1,10 --steps 200 --cache DIR
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

from ...recipes.base_model.retrieval import middle
from ..quality import data, fetch
from ..quality.data import Subject
from ..quality.features import Features
from ..quality.sample import CHECKPOINT, Drawer, Row

START, SEED, NOISES, PROMPTS = "fewstep-tiny-sd-lcm-lora.safetensors", 5, 8, 400
LCM = {"skip": 200, "solver_steps": 2, "guidance_min": 2.0, "guidance_max": 2.0, "huber_c": 0.1}
FEEDBACK = {"timesteps": (999,), "alpha": 0.6}


def run(weight: float, reward, args: argparse.Namespace, folder: Path) -> Path:
    """Train and return the LoRA's file. weight: of the feedback, 0 for the plain run."""
    from fewstep.host import folders, headless
    from fewstep.host.data import dataset
    from fewstep.host.training import run
    from fewstep.host.training.job import Job
    from fewstep.training.config import TrainConfig
    from fewstep.training.methods import lcm
    from fewstep.training.on_images import with_feedback
    from fewstep.training.options import ConsistencyOptions, FeedbackOptions

    folders.output_folder, folders.lora_folder = lambda: folder, lambda: folder
    prompts = tuple((folders.PROMPTS / "tiny-sd.txt").read_text(encoding="utf-8").splitlines())
    spec = dataset.DataSpec(prompts[:: len(prompts) // PROMPTS], None, 96, 96, 64, 8, 2.0)
    method = lcm(ConsistencyOptions(**LCM))
    if weight:
        method = with_feedback(method, FeedbackOptions(reward=reward.name, weight=weight, **FEEDBACK), reward)
    settings = {"steps": args.steps, "batch_size": args.batch, "learning_rate": args.rate, "seed": args.seed}
    config = TrainConfig(**settings, warmup=5, preview_every=args.steps)
    loaded = headless.load_checkpoint(CHECKPOINT)  # a copy of its own: the drawer changed the layout of its VAE
    with torch.inference_mode():
        job = Job(*loaded, spec, method, config, f"lit-{weight:g}", ["fox, 3d style"], START)
        return folder / run.distil(job).name


def held_out() -> list[Subject]:
    """The base's 38 held-out combinations of concept and style, on white, each from several noises."""
    return [Subject(name, "", style) for name, style in data.combinations(trained=False) for _ in range(NOISES)]


def judged(drawer: Drawer, lora: Path, reward, gallery: tuple, features: Features, steps: int) -> dict[str, float]:
    """The reward's mean and its standard error; the share whose nearest real picture (Lite0) is the right concept, and
    style."""
    asked = held_out()
    drawn = drawer.draw(Row("lcm", steps, lora=str(lora)), [s.caption for s in asked], SEED).pictures
    pixels = torch.from_numpy(drawn).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        scores = reward(pixels, [s.caption for s in asked])
    pairs, mean, units = gallery
    rows = features(drawn) - mean
    nearest = [pairs[i] for i in (rows / np.linalg.norm(rows, axis=1, keepdims=True) @ units.T).argmax(1)]
    concept = np.mean([found[0] == s.name for found, s in zip(nearest, asked)])
    both = np.mean([found == (s.name, s.style) for found, s in zip(nearest, asked)])
    lit = {"LiT": float(scores.mean()), "+-": float(scores.std() / len(scores) ** 0.5)}
    return {**lit, "concept (Lite0)": float(concept), "concept and style (Lite0)": float(both)}


def real_ones(features: Features, cache: Path) -> tuple:
    """(pairs, mean, unit features) of the 400 real pictures on white."""
    pictures = data.load_pictures(cache)
    rows = features.cached(np.stack([data.on_ground(middle(p), None) for p in pictures.values()]), cache / "gallery")
    centred = rows - rows.mean(0)
    return list(pictures), rows.mean(0), centred / np.linalg.norm(centred, axis=1, keepdims=True)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.rewards.student", description=__doc__.split(":")[0])
    parser.add_argument("--weights", default="0,1,10", help="of the feedback, one run each; 0 is LCM alone")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=1e-4, help="learning rate")
    parser.add_argument("--seed", type=int, default=0, help="of the runs; the judged noises stay the same")
    parser.add_argument("--cache", type=Path, default=fetch.CACHE, help="where fetched pictures lie")
    parser.add_argument("--folder", type=Path, default=None, help="where the runs go; finished ones are not run again")
    return parser.parse_args()


def main() -> None:
    args = options()
    drawer, features = Drawer(), Features()
    from fewstep.host import folders
    from fewstep.host.rewards import lit

    reward = lit.similarity("lit-emoji.safetensors", "benchmarks.rewards")
    folder = args.folder or Path(tempfile.mkdtemp(prefix="fewstep-lit-"))
    gallery = real_ones(features, args.cache)

    def report(name: str, lora: Path) -> None:
        for steps in (1, 4):
            found = judged(drawer, lora, reward, gallery, features, steps)
            print(steps, name, {key: round(value, 3) for key, value in found.items()}, flush=True)

    report("start", Path(folders.full_path("loras", START)))
    for weight in map(float, args.weights.split(",")):
        report(f"weight {weight:g}", run(weight, reward, args, folder))


if __name__ == "__main__":
    main()
