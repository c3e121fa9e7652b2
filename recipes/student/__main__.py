"""Make the shipped student again: `python run.py recipe student` (about two hours on two CPU cores).

Both runs are graphs of FewStep Distill, submitted to a host; a stopped run goes on where it was.
"""

import argparse
from pathlib import Path

from ...launcher import server, workflow
from .publish import SHIPPED, publish

HERE = Path(__file__).resolve().parent


def graph(name: str) -> workflow.Workflow:
    """A run's graph, with the first run's file named as this system's lists name it."""
    found = workflow.load(HERE / f"{name}.json")
    start = found["5"]["inputs"]["start_lora"]
    found["5"]["inputs"]["start_lora"] = start if start == "none" else str(Path(start))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="recipes.student", description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="auto", choices=server.DEVICES)
    parser.add_argument("--out", type=Path, default=SHIPPED, help="where the finished file goes")
    args = parser.parse_args()
    with server.host(device=args.device) as host:
        for name in ("first_run", "second_run"):
            host.client().submit(graph(name))
        folder = host.workdir / "models" / "loras" / "fewstep"
    publish(folder / "tiny-second-run.safetensors", folder / "tiny-first-run.safetensors", args.out)
    print(f"The student is in {args.out}")


if __name__ == "__main__":
    main()
