"""Train the LiT reward's heads again and print what they are worth: `python -m benchmarks.rewards` (half an hour of one
core, most of it features; they are kept in the cache)."""

import argparse
from pathlib import Path

from ..quality import fetch
from . import heads, pairs


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.rewards", description=__doc__.split(":")[0])
    parser.add_argument("--cache", type=Path, default=fetch.CACHE, help="where fetched pictures and features lie")
    parser.add_argument("--out", type=Path, default=heads.SHIPPED, help="where the heads go")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    found = pairs.build(args.cache)
    weights = heads.train(found["train"], args.seed)
    heads.save(weights, found["train"], args.out)
    exact = {key: value.float() for key, value in weights.items()}
    for name in ("held-out", "decoded"):
        print(name, {key: round(value, 3) for key, value in heads.recall(exact, found[name]).items()})


if __name__ == "__main__":
    main()
