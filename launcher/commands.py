"""The small commands: comfy, test, bench, recipe, tool."""

import argparse
import os
import runpy
import subprocess
import sys
import time
import webbrowser
from contextlib import AbstractContextManager

from . import upstream
from .folders import ROOT
from .server import Host, HostError, failure, host

OPENED = "01_text_to_image_4_steps"  # the graph that the page opens with


def running(args: argparse.Namespace, **more) -> AbstractContextManager[Host]:
    """Start the host that the options name."""
    comfyui = upstream.checkout(args.comfyui) if args.comfyui else None
    print(f"Starting {comfyui or 'the embedded ComfyUI'} ...", flush=True)
    return host(args.device, comfyui, port=args.port, **more)


def comfy(args: argparse.Namespace) -> None:
    """Open the host's web page and pass its log on until Ctrl-C."""
    with running(args) as server:
        print(f"\nComfyUI with FewStep: {server.url}   (Ctrl-C stops it; log: {server.log})\n", flush=True)
        if not args.no_browser:
            webbrowser.open(f"{server.url}/?fewstep={OPENED}")
        with server.log.open(encoding="utf-8", errors="replace") as log:
            while server.process.poll() is None:
                print(log.read(), end="", flush=True)
                time.sleep(0.5)
        raise HostError(failure(f"The host stopped by itself (exit code {server.process.returncode}).", server.log))


def test(args: argparse.Namespace) -> int:
    """Run the tests and the linter; options the launcher does not know go to pytest."""
    if args.comfyui:  # the tests start this host, with its own Python
        python = args.python or upstream.find_python(upstream.checkout(args.comfyui))
        os.environ |= {"COMFYUI_DIR": str(upstream.checkout(args.comfyui)), "COMFYUI_PYTHON": str(python)}
    which = [] if any((ROOT / word.split("::")[0]).exists() for word in args.rest) else ["tests"]
    pytest = [sys.executable, "-m", "pytest", "-c", "tests/pytest.ini", "--rootdir", "tests"]
    # The whole suite in two processes, each with a host of its own; a chosen part in one, for -x and --pdb.
    side_by_side = [] if args.rest else ["-n", "2", "--dist", "loadfile"]
    # One thread each: two that wait for each other, beside another process on the same cores, take many times as long.
    env = os.environ if args.rest else {"OMP_NUM_THREADS": "1", **os.environ}
    tests = subprocess.call([*pytest, *which, *side_by_side, *args.rest], cwd=ROOT, env=env)
    lint = subprocess.call([sys.executable, "-m", "ruff", "check", "."], cwd=ROOT)
    return tests or lint


def bench(args: argparse.Namespace) -> None:
    """Run the measurement benchmarks/NAME."""
    run_module("benchmarks", args)


def recipe(args: argparse.Namespace) -> None:
    """Run recipes/NAME, which makes a shipped weight file again."""
    run_module("recipes", args)


def tool(args: argparse.Namespace) -> None:
    """Run tools/NAME, which writes files that the repository holds."""
    run_module("tools", args)


def run_module(room: str, args: argparse.Namespace) -> None:
    """Run ROOM/NAME.py or the package ROOM/NAME in this process, with the rest of the options."""
    name = args.name.removesuffix(".py").strip("/\\").replace("\\", "/")
    places = [ROOT / room / f"{name}.py", ROOT / room / name / "__main__.py"]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        files = sorted((ROOT / room).glob("*"))
        names = {file.stem for file in files if file.suffix == ".py" or (file / "__main__.py").is_file()} - {"__init__"}
        offered = ", ".join(sorted(names)) or "none yet"
        raise ValueError(f"{args.command}: there is no {name!r} in {room}. There are: {offered}.")
    sys.argv = [str(found), *args.rest]
    runpy.run_module(f"fewstep.{room}.{name.replace('/', '.')}", run_name="__main__", alter_sys=True)
