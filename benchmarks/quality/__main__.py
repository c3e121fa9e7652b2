"""How near few-step pictures come to the reference, at equal network passes.

    python -m benchmarks.quality                              the base's stock samplers: screen, then measure the best
    python -m benchmarks.quality --lora FILE --steps 1,2,4,8  a student, added to the table
    python -m benchmarks.quality --lora FILE --steps 1,2,4 --sampler lcm,tcd --n 500     a quick look (no table)
    python -m benchmarks.quality --reference                  measure the reference again (fetches the pictures)

Drawn chunks are kept in output/quality/, so a stopped run goes on where it was and a new row costs only itself.
"""

import argparse
import logging
from pathlib import Path

from . import fetch, reference, rows, table
from .sample import CHECKPOINT, Row
from .score import FOLDER, SEED, Bench, Result


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="benchmarks.quality", description=__doc__.split("\n")[0])
    parser.add_argument("--lora", action="append", default=[], help="a student's LoRA file; may be repeated")
    parser.add_argument("--sampler", default="lcm", help="the pack's samplers for students, split by commas")
    parser.add_argument("--schedule", default="lcm", choices=("lcm", "trailing", "file"), help="their schedule")
    parser.add_argument("--steps", default="1,2,4,8", help="step counts for students, split by commas")
    parser.add_argument("--cfg", type=float, default=1.0, help="guidance for students; above 1 doubles the passes")
    parser.add_argument("--eta", type=float, help="TCD's eta, 0..1")
    parser.add_argument("--strength", type=float, default=1.0, help="of the LoRA")
    parser.add_argument("--n", type=int, default=rows.FULL_N, help="pictures a row; below 2000 nothing is written")
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--device", default="cpu", choices=("cpu", "auto"), help="auto takes the host's choice")
    parser.add_argument("--threads", type=int, help="CPU threads; torch's own choice when not given")
    parser.add_argument("--cache", type=Path, default=fetch.CACHE, help="where fetched pictures lie")
    parser.add_argument("--font", type=Path, help="NotoColorEmoji.ttf, when it is neither installed nor fetched")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where drawn chunks are kept")
    parser.add_argument("--reference", action="store_true", help="measure reference.npz again, then stop")
    return parser.parse_args()


def base(bench: Bench) -> None:
    """Screen the stock samplers at n = 400, measure the best two at each number of passes at n = 2000."""
    for budget, candidates in rows.CANDIDATES.items():
        screened = [screen(bench, row) for row in candidates if bench.drawer.has(row)]
        within = [result for result in screened if result.passes <= budget]
        best = sorted(distinct(within), key=lambda result: result.score.reconstructed)
        for result in best[: rows.KEPT]:
            full(bench, result.row)


def full(bench: Bench, row: Row) -> None:
    """Measure a row at n = 2000 and keep its line in the table."""
    result = bench.measure(row, rows.FULL_N)
    table.add(result, SEED)
    print(table.text(result), flush=True)


def screen(bench: Bench, row: Row) -> Result:
    """Measure a candidate at n = 400 and keep its line."""
    result = bench.measure(row, rows.SCREEN_N)
    print(table.text(result), flush=True)
    table.add(result, SEED, part="screened")
    return result


def distinct(results: list[Result]) -> list[Result]:
    """Drop results that equal an earlier one: with one step several samplers are the same."""
    return list({round(r.score.reconstructed, 3): r for r in reversed(results)}.values())


def students(bench: Bench, args: argparse.Namespace) -> None:
    """Measure every LoRA with every sampler and step count given."""
    extra = {} if args.eta is None else {"eta": args.eta}
    for lora in args.lora:
        for sampler in args.sampler.split(","):
            for steps in map(int, args.steps.split(",")):
                settings = {"schedule": args.schedule, "lora": lora, "strength": args.strength}
                settings["options"] = extra if sampler == "tcd" else {}
                result = bench.measure(Row(sampler, steps, args.cfg, **settings), args.n)
                print(table.text(result), flush=True)
                if args.n >= rows.FULL_N:
                    table.add(result, SEED)


def main() -> None:
    """Run what the command line asks for."""
    args = options()
    logging.disable(logging.INFO)
    if args.threads:
        import torch

        torch.set_num_threads(args.threads)
    bench = Bench(args.checkpoint, args.device, args.folder)
    if args.reference:
        reference.build(bench.drawer, args.cache, args.font)
        return
    students(bench, args) if args.lora else base(bench)
    if args.n >= rows.FULL_N:
        print(table.write())


if __name__ == "__main__":
    main()
