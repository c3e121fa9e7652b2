"""The command line: read it, choose the Python it needs, go on inside that one. Standard library only."""

import argparse
import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from . import install, train, upstream
from .folders import ROOT
from .pip import InstallError

INSIDE = "FEWSTEP_INSIDE"  # set for the second start, inside the right Python
MODULES = {"demo": "demo", "api": "headless", "train": "train", "comfy": "commands"}
MODULES |= {"test": "commands", "bench": "commands", "recipe": "commands", "tool": "commands"}


def main(argv: Sequence[str]) -> int:
    """Run a command; errors meant for people are printed as sentences."""
    args = parse(argv)
    for stream in (sys.stdout, sys.stderr):  # a host's log has signs that no Windows code page knows
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        if args.command == "check":  # plain Python: nothing to install
            return importlib.import_module(".check", __package__).check(args)
        if os.environ.pop(INSIDE, None):
            for name in ("SIGTERM", "SIGHUP"):  # leave through every `finally`: the host must stop
                if hasattr(signal, name):
                    signal.signal(getattr(signal, name), lambda *_: sys.exit(143))
            return run(args)
        python = choose_python(args)
        if train.is_run(args) and python == Path(sys.executable):  # maybe one of several, whose launcher watches it
            return run(args)
        return rerun(python, argv)
    except (RuntimeError, ValueError, OSError) as error:
        if os.environ.get("FEWSTEP_TRACEBACK"):
            raise
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130


def run(args: argparse.Namespace) -> int:
    """Run the command in this process."""
    module = importlib.import_module(f".{MODULES[args.command]}", __package__)
    return getattr(module, args.command)(args) or 0


def choose_python(args: argparse.Namespace) -> Path:
    """Return the Python for this command: the embedded host's, the fresh clone's or the user's own."""
    if train.is_run(args):
        return train.python_of(args)
    files = install.TEST if args.command in ("test", "bench", "recipe", "tool") else install.HOST
    if getattr(args, "host", None):  # nothing is installed to talk to a host that runs
        return client_python(args)
    if args.python and not args.comfyui:
        raise InstallError("--python names the Python of a ComfyUI: give --comfyui DIR as well.")
    if not args.comfyui or args.command == "test":  # the tests' own Python; they start the other host with its own
        return install.embedded(files)
    if args.comfyui == upstream.LATEST:
        return upstream.prepare_latest(args.comfyui_url)
    python = host_python(args)
    install.check_packages(python, files)
    return python


def client_python(args: argparse.Namespace) -> Path:
    """Return a Python that can talk to a host: the named one, the embedded host's where installed, or this one."""
    ready = install.venv_python(Path(os.environ.get("FEWSTEP_VENV") or ROOT / ".venv"))
    python = Path(args.python).expanduser() if args.python else ready if ready.exists() else Path(sys.executable)
    install.check_packages(python, ())
    return python


def host_python(args: argparse.Namespace) -> Path:
    """Return the Python of the user's own ComfyUI: the named one, else the one found beside it."""
    return Path(args.python).expanduser() if args.python else upstream.find_python(upstream.checkout(args.comfyui))


def rerun(python: Path, argv: Sequence[str]) -> int:
    """Start run.py again with another Python and wait for it; Ctrl-C and a stop signal are its to handle."""
    child = subprocess.Popen([str(python), str(ROOT / "run.py"), *argv], env=os.environ | {INSIDE: "1"})
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    while True:
        try:
            return child.wait()
        except KeyboardInterrupt:  # the terminal sent it to the child too: let it stop its host
            continue


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line; what `test` does not know goes on to pytest."""
    args, rest = parser().parse_known_args(argv)
    if args.command == "test":
        args.rest = rest
    elif rest:
        parser().error(f"{args.command} does not know {' '.join(rest)}")
    return args


def parser() -> argparse.ArgumentParser:
    """Describe the commands."""
    top = argparse.ArgumentParser(prog="run.py", description="FewStep: few-step diffusion in ComfyUI.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    host = host_options()
    demo = commands.add_parser("demo", parents=[host], help="install, sample, and draw the sheet output/demo.png")
    demo_options(demo)
    page = commands.add_parser("comfy", parents=[host], help="open ComfyUI's page with the pack in it")
    page.add_argument("--no-browser", action="store_true", help="only print the address")
    for name, text in (("api", "run a workflow in the API format"), ("train", "train a run folder, or run a workflow")):
        graph = commands.add_parser(name, parents=[host], help=text)
        graph_options(graph)
    commands.add_parser("test", parents=[host], help="run the tests and the linter; further options go to pytest")
    check = commands.add_parser("check", help="say whether workflows sample their few-step files as made")
    check.add_argument("files", nargs="+", metavar="FILE", help="a workflow's JSON, of the page or the API")
    for name, text in (
        ("bench", "run a measurement out of benchmarks/"),
        ("recipe", "make a shipped weight file again"),
        ("tool", "write files that the repository holds: workflows, tables, pictures"),
    ):
        module = commands.add_parser(name, parents=[host], help=text)
        module.add_argument("name", help="its file or folder name")
        module.add_argument("rest", nargs=argparse.REMAINDER, help="its own options")
    return top


def host_options() -> argparse.ArgumentParser:
    """Describe the options about the host."""
    options = argparse.ArgumentParser(add_help=False)
    where = os.environ.get("COMFYUI_DIR") or None
    options.add_argument("--comfyui", default=where, metavar="DIR", help="an existing ComfyUI, or 'latest' to clone it")
    options.add_argument("--comfyui-url", default=upstream.URL, metavar="URL", help="where 'latest' is cloned from")
    options.add_argument("--python", metavar="FILE", help="the Python of that ComfyUI")
    options.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"))
    options.add_argument("--port", type=int, help="the host's port (default: a free one)")
    return options


def graph_options(graph: argparse.ArgumentParser) -> None:
    """Describe the options of `api` and `train`."""
    graph.add_argument("file", help="the workflow's JSON file; for train also a run folder")
    graph.add_argument("--folders", metavar="FILE", help="for a run folder: where models, input and output are")
    graph.add_argument("--set", action="append", default=[], metavar="NODE.INPUT=VALUE", dest="settings")
    graph.add_argument("--csv", metavar="FILE", help="a run a line; its head holds NODE.INPUT names")
    graph.add_argument(
        "--host", action="append", metavar="H:P", help="a ComfyUI that runs already; several share a CSV"
    )
    graph.add_argument("--patience", type=float, default=60.0, help="seconds that a --host may be out of reach")
    graph.add_argument(
        "--timeout", type=float, metavar="SECONDS", help="a run that takes longer is cancelled: it failed"
    )
    graph.add_argument("--out", default=str(ROOT / "output"), metavar="DIR", help="where pictures and results go")


def demo_options(demo: argparse.ArgumentParser) -> None:
    """Describe the options of `demo`."""
    demo.add_argument("--checkpoint", metavar="FILE", help="your own SD1.5 or SDXL checkpoint instead of the tiny one")
    demo.add_argument("--lora", metavar="FILE", help="your own few-step LoRA for it")
    demo.add_argument("--prompts", metavar="FILE", help="a text file with a prompt a line")
    demo.add_argument("--size", type=int, help="pixels a side (default: what the checkpoint was made for)")
    demo.add_argument("--cfg", type=float, help="guidance of the base at 25 and 4 steps")
    demo.add_argument("--out", default=str(ROOT / "output" / "demo.png"), metavar="FILE", help="where the sheet goes")
