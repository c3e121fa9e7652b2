"""A client of ComfyUI's HTTP API: submit a graph, follow it over the websocket, fetch its pictures.

aiohttp is the one library used: every ComfyUI brings it, so any ComfyUI's Python can run this.
"""

import asyncio
import io
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
from PIL import Image

from .bars import Bars
from .process import tail
from .wording import ENDINGS, bad_end, refusal
from .workflow import Workflow

Progress = Callable[[str, int, int], None]  # (node id, steps done, steps in all)
PREVIEWS = 64 * 2**20  # bytes of the largest message: previews of large pictures pass the default 4 MB
PATIENCE = 60.0  # seconds that a host may be out of reach before it counts as lost
PAUSE = 1.0  # seconds between two tries to reach it
SILENCE = 5.0  # seconds without a message after which the host is asked; old ones forget a socket that came back
RECENT = 200  # runs of the host's memory that are looked through for ours
KEY = "fewstep_key"  # in a prompt's extra_data: our own name for it, which the host keeps beside the graph
UNREACHABLE = (aiohttp.ClientError, OSError, asyncio.TimeoutError)


class WorkflowError(RuntimeError):
    """The host refused a graph, or a node failed; the message names the node and what it said."""


class HostLost(WorkflowError):
    """The host is out of reach for longer than the client waits: whether the graph was run is not known."""


@dataclass
class Run:
    """What became of one submitted graph."""

    prompt_id: str = ""
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)  # node id -> what its node showed
    seconds: float = 0.0  # from acceptance to the end
    node_seconds: dict[str, float] = field(default_factory=dict)  # node id -> from its start to the next node's


class Client:
    """Talks to one host. `alive` tells of a host of our own whether its process still runs."""

    def __init__(
        self,
        url: str,
        log: Path | None = None,
        alive: Callable[[], bool] = lambda: True,
        patience: float = PATIENCE,
    ):
        self.url = url.rstrip("/")
        self.log, self.alive, self.patience = log, alive, patience
        self.id = uuid.uuid4().hex

    def submit(self, workflow: Workflow, timeout: float | None = None, progress: Progress | None = None) -> dict:
        """Run a graph and return its outputs by node id: {"9": {"images": [{filename, subfolder, type}]}}."""
        return self.run(workflow, timeout, progress).outputs

    def run(self, workflow: Workflow, timeout: float | None = None, progress: Progress | None = None) -> Run:
        """Run a graph and return outputs and times. Without `progress`, bars are drawn on the terminal."""
        with Bars(workflow) as bars:
            return asyncio.run(self.perform(workflow, str(uuid.uuid4()), progress or bars, timeout))

    def get(self, path: str) -> Any:
        """GET a JSON answer."""
        return asyncio.run(self.call("get", path))

    def object_info(self) -> dict[str, Any]:
        """Return every node the host knows, with its inputs."""
        return self.get("/object_info")

    def history(self, prompt_id: str) -> dict[str, Any]:
        """Return what the host remembers of a run."""
        return self.get(f"/history/{prompt_id}").get(prompt_id, {})

    def interrupt(self) -> None:
        """Cancel the running graph."""
        asyncio.run(self.call("post", "/interrupt", "read"))

    def picture(self, image: dict[str, str]) -> Image.Image:
        """Fetch one entry of an output's `images`."""
        return Image.open(io.BytesIO(asyncio.run(self.view(image)))).convert("RGB")

    def pictures(self, outputs: dict[str, dict[str, Any]]) -> list[Image.Image]:
        """Fetch all pictures of `submit`'s answer, in the order of the nodes."""
        return [self.picture(image) for output in outputs.values() for image in output.get("images", [])]

    async def view(self, file: dict[str, str]) -> bytes:
        """Fetch a file that a node showed, as it lies on the host's disk."""
        wanted = {key: file[key] for key in ("filename", "subfolder", "type")}
        return await self.call("get", f"/view?{urlencode(wanted)}", "read")

    async def call(self, method: str, path: str, read: str = "json", **options) -> Any:
        """One request; an answer of 400 and above is an error."""
        async with aiohttp.ClientSession() as session, session.request(method, self.url + path, **options) as reply:
            if reply.status >= 500:  # it restarts, or stands behind something that does not reach it
                raise ConnectionError(f"{self.url} answered {reply.status} ({reply.reason}) to {path}")
            if reply.status >= 400:
                raise WorkflowError(f"{self.url} answered {reply.status} ({reply.reason}) to {path}.")
            return await getattr(reply, read)()

    async def perform(
        self, workflow: Workflow, key: str, progress: Progress, timeout: float | None = None, sent: bool = False
    ) -> Run:
        """Run a graph to its end, over lost connections. `key` (a UUID) is our name for this run; `sent`: the host may
        have it already, then it is looked up first. Nothing is sent twice to a host that still has it.
        """
        run = Run()
        try:
            await asyncio.wait_for(self._finish(workflow, key, run, progress, sent), timeout)
        except asyncio.TimeoutError as error:
            await self.cancel(key)
            raise WorkflowError(self._about(f"The graph was cancelled: not done within {timeout:g} s.")) from error
        return run

    async def find(self, key: str) -> tuple[str, dict | None] | None:
        """(the host's id, its record if the run has ended) of the run we call `key`; None if the host has none."""
        for items in (await self.call("get", "/queue")).values():  # first: from here a run goes into the history
            for item in items:
                if key in (item[1], item[3].get(KEY)):
                    return item[1], None
        history = await self.call("get", f"/history/{key}") or await self.call("get", f"/history?max_items={RECENT}")
        for prompt_id, record in reversed(history.items()):  # the newest first
            if key in (prompt_id, record["prompt"][3].get(KEY)):
                return prompt_id, record
        return None

    async def keys(self) -> dict[str, bool]:
        """{our name of a run: whether this client sent it} of what the host has in its queue or remembers as done."""
        queue, history = await self.call("get", "/queue"), await self.call("get", f"/history?max_items={RECENT}")
        items = [item for items in queue.values() for item in items]
        items += [record["prompt"] for record in history.values() if not bad_end(record)]
        return {item[3][KEY]: item[3].get("client_id") == self.id for item in items if KEY in item[3]}

    async def cancel(self, key: str) -> None:
        """Take our run out of the host's queue, or stop it."""
        queue = await self.call("get", "/queue")
        for state, items in queue.items():
            for item in items:
                if key in (item[1], item[3].get(KEY)):
                    stop = ("/interrupt", {"prompt_id": item[1]})
                    path, body = stop if state == "queue_running" else ("/queue", {"delete": [item[1]]})
                    await self.call("post", path, "read", json=body)

    async def _finish(self, workflow: Workflow, key: str, run: Run, progress: Progress, sent: bool) -> None:
        options = {"max_msg_size": PREVIEWS, "timeout": aiohttp.ClientWSTimeout(ws_close=2.0)}
        socket, lost, reason = f"{self.url}/ws?clientId={self.id}", None, None
        while True:
            try:
                async with aiohttp.ClientSession() as session, session.ws_connect(socket, **options) as messages:
                    known = await self.find(key) if sent else None
                    sent = True  # from here on the host may have it, even if its answer never comes
                    run.prompt_id, record = known or (await self._post(session, workflow, key), None)
                    lost = None
                    if record or await self._follow(messages, key, run, progress):
                        path = f"/history/{run.prompt_id}"
                        record = record or (await self.call("get", path)).get(run.prompt_id, {})
                        return self._settle(run, record)
            except UNREACHABLE as error:
                reason = error
            lost, why = lost or time.monotonic(), f" ({reason})" if reason else ""
            if not self.alive() or time.monotonic() - lost > self.patience:
                raise HostLost(self._about(f"The host {self.url} was lost before the graph was done{why}.")) from reason
            await asyncio.sleep(PAUSE)

    def _settle(self, run: Run, record: dict) -> None:
        if wrong := bad_end(record):
            raise WorkflowError(self._about(wrong))
        run.outputs = record.get("outputs", {})

    async def _post(self, session: aiohttp.ClientSession, workflow: Workflow, key: str) -> str:
        """Newer hosts take `key` as the run's id, older ones keep it in its extra_data."""
        body = {"prompt": workflow, "client_id": self.id, "prompt_id": key, "extra_data": {KEY: key}}
        async with session.post(f"{self.url}/prompt", json=body) as reply:
            if reply.status >= 500:
                raise ConnectionError(f"{self.url} answered {reply.status} ({reply.reason}) to the graph")
            answer = await reply.json(content_type=None)
        if reply.status != 200 or answer.get("node_errors"):
            if reply.status == 200:  # it has begun with the rest of the graph
                await self.cancel(key)
            raise WorkflowError(refusal(answer, workflow))
        return answer["prompt_id"]

    async def _follow(self, messages: aiohttp.ClientWebSocketResponse, key: str, run: Run, progress: Progress) -> bool:
        """Read messages until this run's end (True) or the connection's (False); note when each node starts."""
        begin = last = time.perf_counter()
        current = None
        while True:
            try:
                message = await messages.receive(timeout=SILENCE)
            except asyncio.TimeoutError:
                known = await self.find(key)
                if known is None or known[1]:
                    run.seconds = time.perf_counter() - begin
                    return known is not None
                continue
            if message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR):
                return False
            if message.type != aiohttp.WSMsgType.TEXT:
                continue  # a preview picture
            event = message.json()
            kind, data = event["type"], event.get("data", {})
            if data.get("prompt_id", run.prompt_id) != run.prompt_id:
                continue
            if kind in ENDINGS:
                raise WorkflowError(self._about(ENDINGS[kind](data)))
            if kind == "progress":
                progress(str(data.get("node") or current), data["value"], data["max"])
            elif kind == "executing":
                now = time.perf_counter()
                if current is not None:
                    run.node_seconds[current] = now - last
                current, last = data["node"], now
                if current is None:
                    run.seconds = now - begin
                    return True

    def _about(self, what: str) -> str:
        """Add the end of the host's log to an error."""
        if self.log is None:
            return what
        return f"{what}\n\nThe last lines of the host's log ({self.log}):\n\n{tail(self.log, 12)}"
