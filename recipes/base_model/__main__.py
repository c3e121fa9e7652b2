"""Make the tiny base model again, from pictures to checkpoint, with one command.

    python -m recipes.base_model                    the recipe of the shipped weights (about 4 hours on two cores)
    python -m recipes.base_model --minutes 30       the same phases in half an hour
    python -m recipes.base_model --steps 200        a short run
    python -m recipes.base_model --grid             the picture of 64 prompts
    python -m recipes.base_model --retrieval        how often the nearest real picture has the right concept

A stopped run goes on where it was: its state is in output/base-model/.
"""

import argparse
import logging
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "output" / "base-model"
SHIPPED = ROOT / "assets" / "checkpoints" / "fewstep-tiny-sd.safetensors"


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="recipes.base_model", description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, help="U-Net steps in all; the other phases follow in proportion")
    parser.add_argument("--minutes", type=float, help="train for so long instead (the data comes on top)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, mps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="state of the run; a new one for other settings")
    parser.add_argument("--output", type=Path, help="the checkpoint; FOLDER/fewstep-tiny-sd.safetensors when not given")
    parser.add_argument("--cache", type=Path, help="where fetched pictures lie")
    parser.add_argument("--font", type=Path, help="NotoColorEmoji.ttf, when it is neither installed nor fetched")
    parser.add_argument("--checkpoint", type=Path, default=SHIPPED, help="what --grid and --retrieval look at")
    parser.add_argument("--grid", action="store_true", help="write grid.png and stop")
    parser.add_argument("--retrieval", action="store_true", help="measure caption retrieval and stop")
    parser.add_argument("--n", type=int, default=1000, help="pictures for --retrieval")
    return parser.parse_args()


def make(args: argparse.Namespace) -> None:
    """Run the recipe."""
    from fewstep.host import headless

    headless.start("cpu" if args.device == "cpu" else "auto")
    from ...benchmarks.quality import fetch
    from . import recipe
    from .config import Recipe

    settings = Recipe(seed=args.seed)
    settings = settings.scaled(args.steps) if args.steps else settings
    sources = recipe.real_sources(args.cache or fetch.CACHE, args.font)
    args.folder.mkdir(parents=True, exist_ok=True)
    file = args.output or args.folder / SHIPPED.name
    embeddings = recipe.start_embeddings(args.folder)
    recipe.Job(sources, settings, args.folder, args.minutes, args.device).make(file, embeddings)
    print(file)


def main() -> None:
    """Run what the command line asks for."""
    args = options()
    logging.getLogger().setLevel(logging.WARNING)
    if args.grid:
        from . import grid

        print(grid.save(args.checkpoint))
    elif args.retrieval:
        from . import retrieval

        print(retrieval.report(args.checkpoint, args.n))
    else:
        make(args)


if __name__ == "__main__":
    main()
