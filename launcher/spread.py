"""Rows run on one or several hosts: none lost, none doubled.

Each host runs one row at a time. When it is out of reach for longer than its client's patience, its row goes to the
next free host. Should it come back, what it still has of ours is taken from it: a row that nobody else has begun is
followed there to its end, any other is cancelled. A row counts as done once its files are saved, and is saved once.
"""

import asyncio
import os
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .api import UNREACHABLE, Client, HostLost, Run, WorkflowError
from .bars import silent
from .rows import Results, Row

AGAIN = 2.0  # seconds between two looks for a lost host
Told = Callable[[str], None]


class Spread:
    """The rows that wait, who runs which, and what is done."""

    def __init__(
        self,
        clients: Sequence[Client],
        rows: Sequence[Row],
        results: Results,
        stem: str,
        tell: Told,
        timeout: float | None = None,
    ):
        self.clients, self.rows, self.results, self.stem = clients, {row.key: row for row in rows}, results, stem
        self.tell, self.timeout = tell, timeout
        self.waiting = deque(row for row in rows if not results.done(row.number))
        self.left = len(self.waiting)
        self.lost: set[Client] = set()
        self.begun: set[str] = set()  # keys of rows that a lost host had: who takes one looks for it first
        self.running: dict[Client, Row] = {}
        self.changed = asyncio.Condition()

    async def run(self) -> None:
        """Until every row has ended; raises where no host is left."""
        workers = [asyncio.create_task(self.work(client)) for client in self.clients]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            await asyncio.gather(
                *(client.cancel(row.key) for client, row in self.running.items()), return_exceptions=True
            )

    async def work(self, client: Client) -> None:
        """Run rows on one host; those first that it has from an earlier start or from before it was lost."""
        found = True
        while self.left:
            try:
                if found:
                    await self.reclaim(client)
                    found = False
                row = await self.take()
                if row is not None:
                    await self.one(client, row)
            except HostLost as error:
                await self.give_back(client, error)
                found = True

    async def take(self) -> Row | None:
        """The next row; None once all have ended. Waits while others run the last ones, which may come back."""
        async with self.changed:
            await self.changed.wait_for(lambda: self.waiting or not self.left)
            return self.waiting.popleft() if self.waiting else None

    async def one(self, client: Client, row: Row) -> None:
        """Run a row, save its files, and count it."""
        self.running[client] = row
        record: dict[str, Any] = {"row": row.number, "values": row.values, "host": client.url}
        try:
            run = await client.perform(row.graph, row.key, silent, self.timeout, row.key in self.begun)
            record |= {"seconds": round(run.seconds, 3), **await self.saved(client, row, run)}
        except HostLost:
            raise
        except UNREACHABLE as error:  # lost between the run and its files
            raise HostLost(f"The host {client.url} was lost before its files were fetched ({error}).") from error
        except WorkflowError as error:
            record["error"] = str(error)
        del self.running[client]
        async with self.changed:
            self.results.add(record)
            self.left -= 1
            self.changed.notify_all()
        self.tell(f"row {row.number} on {client.url}: {record.get('error') or ', '.join(record['files'])}")

    async def saved(self, client: Client, row: Row, run: Run) -> dict[str, list[str]]:
        """Fetch and write a row's files, and its texts."""
        outputs = run.outputs.values()
        images = [image for output in outputs for image in output.get("images", []) if image.get("type") != "temp"]
        files = []
        for number, image in enumerate(images, 1):
            file = self.results.file.parent / f"{self.stem}-{row.number:04d}-{number}{Path(image['filename']).suffix}"
            write(file, await client.view(image))
            files.append(file.name)
        return {"files": files, "texts": [str(text) for output in outputs for text in output.get("text", [])]}

    async def give_back(self, client: Client, error: HostLost) -> None:
        """A lost host's row waits for another; then wait for the host. Raises when it was the last."""
        self.lost.add(client)
        async with self.changed:
            if row := self.running.pop(client, None):
                self.waiting.appendleft(row)
                self.begun.add(row.key)
            self.changed.notify_all()
        if len(self.lost) == len(self.clients):
            raise HostLost(
                f"{error}\nNo host is left; {self.left} rows are. Start again to go on with them."
            ) from error
        self.tell(f"{client.url} is lost; its row waits for another host")
        while self.left:
            try:
                await client.call("get", "/queue")
            except (WorkflowError, *UNREACHABLE):
                await asyncio.sleep(AGAIN)
                continue
            self.lost.discard(client)
            self.tell(f"{client.url} is back")
            return

    async def reclaim(self, client: Client) -> None:
        """What this host still has of ours: follow a row that waits, cancel one that another host runs or has run."""
        try:
            for key, own in (await client.keys()).items():
                row = self.rows.get(key)
                if row in self.waiting:
                    self.waiting.remove(row)
                    self.begun.add(key)
                    await self.one(client, row)
                elif row and own:  # a host that goes by two names has what the other name sent, too
                    await client.cancel(key)
        except UNREACHABLE as error:
            raise HostLost(f"The host {client.url} is out of reach ({error}).") from error


def write(file: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    part = file.with_name(f"{file.name}.tmp")
    part.write_bytes(data)
    os.replace(part, file)
