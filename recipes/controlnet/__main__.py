"""Train the tiny base's ControlNet on edges, with one command.

    python -m recipes.controlnet                 the recipe of the shipped file (half an hour on one core)
    python -m recipes.controlnet --minutes 5     by the clock
    python -m recipes.controlnet --steps 50      a short run

A stopped run goes on where it was: its state is in output/controlnet/.
"""

import argparse
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "output" / "controlnet"
BASE = ROOT / "assets" / "checkpoints" / "fewstep-tiny-sd.safetensors"
NAME = "fewstep-tiny-sd-edges.safetensors"


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="recipes.controlnet", description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=2754)
    parser.add_argument("--minutes", type=float, help="train for so long instead (the data comes on top)")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="state of the run; a new one for other settings")
    parser.add_argument("--cache", type=Path, help="where fetched pictures lie")
    parser.add_argument("--font", type=Path, help="NotoColorEmoji.ttf, when it is neither installed nor fetched")
    return parser.parse_args()


def main() -> None:
    """Fetch the pictures, train, and write the file into the run's folder."""
    args = options()
    from fewstep.host import headless

    headless.start("cpu")
    from ...benchmarks.quality import data, fetch
    from ..base_model import dataset
    from ..base_model.config import Budget, Recipe
    from . import train
    from .data import encoded

    recipe = Recipe(batch=16, rate=1e-3, repeats=5, save_every=50)
    model, vae = train.base(BASE)
    pictures = data.load_pictures(args.cache or fetch.CACHE, args.font)
    subjects = dataset.subjects_of(data.concepts(), recipe.repeats, recipe.seed)
    edges = encoded(vae, pictures, subjects, recipe.seed, args.folder / "edges.safetensors")
    state = args.folder / "controlnet.pt"
    net, run = train.train(model, edges, recipe, Budget(args.steps, args.minutes), state)
    last = run.losses[-100:]
    made = {"steps": run.step, "minutes": round(run.seconds / 60, 1), "loss": round(sum(last) / len(last), 4)}
    train.save(net, args.folder / NAME, recipe, made)
    print(args.folder / NAME, made)


if __name__ == "__main__":
    main()
