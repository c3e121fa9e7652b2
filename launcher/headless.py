"""`python run.py api`, and `train` of a graph: workflows in the API format, on our host or on any others."""

import argparse
import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from . import rows, server, workflow
from .api import Client
from .bars import step_bar
from .commands import running
from .spread import Spread, write
from .workflow import Workflow

PORT = 8188  # ComfyUI's own


def api(args: argparse.Namespace) -> int:
    """Run a workflow once, or once for each line of a CSV; save its pictures and print its texts."""
    graph = workflow.load(args.file)
    for setting in args.settings:
        graph = workflow.assign(graph, setting)
    if args.csv:
        return table(args, graph)
    with hosts(args) as clients:
        outputs = clients[0].submit(graph, args.timeout)
        for file in save(clients[0], outputs, Path(args.file).stem, Path(args.out)):
            print(f"Saved {file}")
    for key, output in outputs.items():
        for text in output.get("text", []):
            print(f"{graph[key]['class_type']} ({key}): {text}")
    return 0


def table(args: argparse.Namespace, graph: Workflow) -> int:
    """Run every line of the CSV that an earlier start has not finished; 1 where some failed."""
    lines, stem = rows.read(args.csv), f"{Path(args.file).stem}-{Path(args.csv).stem}"
    rows.graphs(graph, lines, "0" * 32)  # a line that does not fit is told before a file is made or a host started
    results = rows.Results.open(Path(args.out) / f"{stem}.results.jsonl", graph, lines)
    plan = rows.graphs(graph, lines, results.run)
    left = sum(not results.done(row.number) for row in plan)
    if left:
        print(f"{left} of {len(plan)} rows to run; what becomes of them stands in {results.file}", flush=True)
        with hosts(args) as clients, step_bar(left, stem, "row") as bar:

            def tell(text: str) -> None:
                bar.update(sum(map(results.done, range(1, len(plan) + 1))) - (len(plan) - left) - bar.n)
                bar.write(text)

            asyncio.run(spread(clients, plan, results, stem, tell, args.timeout))
    failed = [row.number for row in plan if not results.done(row.number)]
    print(f"{len(plan) - len(failed)} of {len(plan)} rows are done." + (f" Failed: {failed}." if failed else ""))
    return 1 if failed else 0


async def spread(*arguments) -> None:
    """Made inside the loop that runs it, to which its lock belongs."""
    await Spread(*arguments).run()


@contextmanager
def hosts(args: argparse.Namespace) -> Iterator[list[Client]]:
    """Clients of the hosts that --host names; without one a host is started, and stopped afterwards."""
    if not args.host:
        with running(args) as own:
            yield [own.client()]
        return
    urls = list(dict.fromkeys(map(address, args.host)))
    clients = [Client(url, patience=args.patience) for url in urls]
    deaf = [client for client in clients if not server.answers(client.url)]
    if len(deaf) == len(clients):
        raise server.HostError(f"No ComfyUI answers at {', '.join(urls)}. Start it, or correct --host HOST:PORT.")
    for client in deaf:
        print(f"No ComfyUI answers at {client.url} yet; the others begin.", flush=True)
    yield [client for client in clients if client not in deaf] + deaf


def address(text: str) -> str:
    """The URL of HOST, HOST:PORT or a whole URL."""
    parts = urlsplit(text if "://" in text else f"http://{text}")
    try:
        port = parts.port or (PORT if parts.scheme == "http" and "://" not in text else None)
    except ValueError as error:
        raise ValueError(f"Launcher: --host takes HOST:PORT, for example 127.0.0.1:8188; got {text!r}.") from error
    if not parts.hostname or parts.scheme not in ("http", "https") or parts.query or parts.fragment:
        raise ValueError(f"Launcher: --host takes HOST:PORT, for example 127.0.0.1:8188; got {text!r}.")
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{name}{f':{port}' if port else ''}{parts.path.rstrip('/')}"


def save(client: Client, outputs: dict, stem: str, folder: Path) -> list[Path]:
    """Write what the nodes saved as STEM-1.png, STEM-2.png, ... into the folder, as it lies on the host's disk."""
    folder.mkdir(parents=True, exist_ok=True)
    images = [image for output in outputs.values() for image in output.get("images", [])]
    files = []
    for number, image in enumerate(images, 1):
        files.append(folder / f"{stem}-{number}{Path(image['filename']).suffix}")
        write(files[-1], asyncio.run(client.view(image)))
    return files
