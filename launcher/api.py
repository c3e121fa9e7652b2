"""A client of ComfyUI's HTTP API: submit a graph, follow it over the websocket, fetch its pictures.

aiohttp is the one library used: every ComfyUI brings it, so any ComfyUI's Python can run this.
"""

import asyncio
import io
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
from PIL import Image
from tqdm import tqdm

from .process import tail
from .workflow import Workflow

Progress = Callable[[str, int, int], None]  # (node id, steps done, steps in all)
PREVIEWS = 64 * 2**20  # bytes of the largest message: previews of large pictures pass the default 4 MB


class WorkflowError(RuntimeError):
    """The host refused a graph, or a node failed; the message names the node and what it said."""


@dataclass
class Run:
    """What became of one submitted graph."""

    prompt_id: str
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)  # node id -> what its node showed
    seconds: float = 0.0  # from acceptance to the end
    node_seconds: dict[str, float] = field(default_factory=dict)  # node id -> from its start to the next node's


class Client:
    """Talks to one host."""

    def __init__(self, url: str, log: Path | None = None):
        self.url = url.rstrip("/")
        self.log = log
        self.id = uuid.uuid4().hex

    def submit(self, workflow: Workflow, timeout: float | None = None, progress: Progress | None = None) -> dict:
        """Run a graph and return its outputs by node id: {"9": {"images": [{filename, subfolder, type}]}}."""
        return self.run(workflow, timeout, progress).outputs

    def run(self, workflow: Workflow, timeout: float | None = None, progress: Progress | None = None) -> Run:
        """Run a graph and return outputs and times. Without `progress`, bars are drawn on the terminal."""
        with Bars(workflow) as bars:
            return asyncio.run(self._run(workflow, timeout, progress or bars))

    def get(self, path: str) -> Any:
        """GET a JSON answer."""
        return asyncio.run(self._call("get", path, "json"))

    def object_info(self) -> dict[str, Any]:
        """Return every node the host knows, with its inputs."""
        return self.get("/object_info")

    def history(self, prompt_id: str) -> dict[str, Any]:
        """Return what the host remembers of a run."""
        return self.get(f"/history/{prompt_id}").get(prompt_id, {})

    def interrupt(self) -> None:
        """Cancel the running graph."""
        asyncio.run(self._call("post", "/interrupt", "read"))

    def picture(self, image: dict[str, str]) -> Image.Image:
        """Fetch one entry of an output's `images`."""
        wanted = {key: image[key] for key in ("filename", "subfolder", "type")}
        data = asyncio.run(self._call("get", f"/view?{urlencode(wanted)}", "read"))
        return Image.open(io.BytesIO(data)).convert("RGB")

    def pictures(self, outputs: dict[str, dict[str, Any]]) -> list[Image.Image]:
        """Fetch all pictures of `submit`'s answer, in the order of the nodes."""
        return [self.picture(image) for output in outputs.values() for image in output.get("images", [])]

    async def _call(self, method: str, path: str, read: str) -> Any:
        async with aiohttp.ClientSession() as session, session.request(method, self.url + path) as reply:
            if reply.status >= 400:
                raise WorkflowError(f"The host answered {reply.status} ({reply.reason}) to {path}.")
            return await getattr(reply, read)()

    async def _run(self, workflow: Workflow, timeout: float | None, progress: Progress) -> Run:
        options = {"max_msg_size": PREVIEWS, "timeout": aiohttp.ClientWSTimeout(ws_close=2.0)}
        socket = f"{self.url}/ws?clientId={self.id}"
        async with aiohttp.ClientSession() as session, session.ws_connect(socket, **options) as messages:
            run = Run(await self._post(session, workflow))
            try:
                await asyncio.wait_for(self._follow(messages, run, progress), timeout)
            except asyncio.TimeoutError as error:
                await session.post(f"{self.url}/interrupt")
                raise WorkflowError(self._about(f"The graph was cancelled: not done within {timeout:g} s.")) from error
            async with session.get(f"{self.url}/history/{run.prompt_id}") as reply:
                record = (await reply.json()).get(run.prompt_id, {})
        run.outputs = record.get("outputs", {})
        return run

    async def _post(self, session: aiohttp.ClientSession, workflow: Workflow) -> str:
        body = {"prompt": workflow, "client_id": self.id}
        async with session.post(f"{self.url}/prompt", json=body) as reply:
            answer = await reply.json(content_type=None)
            if reply.status != 200 or answer.get("node_errors"):
                raise WorkflowError(refusal(answer, workflow))
            return answer["prompt_id"]

    async def _follow(self, messages: aiohttp.ClientWebSocketResponse, run: Run, progress: Progress) -> None:
        """Read messages until this run's end; note when each node starts."""
        begin = last = time.perf_counter()
        current = None
        async for message in messages:
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
                    return
        raise WorkflowError(self._about("The host closed the connection before the graph was done."))

    def _about(self, what: str) -> str:
        """Add the end of the host's log to an error."""
        if self.log is None:
            return what
        return f"{what}\n\nThe last lines of the host's log ({self.log}):\n\n{tail(self.log, 12)}"


def refusal(answer: dict[str, Any], workflow: Workflow) -> str:
    """Word the host's 400: its error, then a line for each complaint about a node."""
    error = answer.get("error", "no reason given")
    lines = [f"The host refused the graph: {error if isinstance(error, str) else describe(error)}"]
    for key, complaint in (answer.get("node_errors") or {}).items():
        name = complaint.get("class_type") or workflow.get(key, {}).get("class_type", "?")
        lines += [f"  node {key} ({name}): {describe(one)}" for one in complaint.get("errors", [])]
    return "\n".join(lines)


def describe(error: dict[str, Any]) -> str:
    """Join an error's message and details."""
    return ": ".join(filter(None, (error.get("message"), error.get("details"))))


def failed(data: dict[str, Any]) -> str:
    """Word an execution_error."""
    where = f"node {data.get('node_id')} ({data.get('node_type')})"
    return f"{where} failed with {data.get('exception_type')}: {str(data.get('exception_message')).strip()}"


def interrupted(data: dict[str, Any]) -> str:
    """Word an execution_interrupted."""
    return f"The graph was cancelled at node {data.get('node_id')} ({data.get('node_type')})."


ENDINGS = {"execution_error": failed, "execution_interrupted": interrupted}


class Bars:
    """A progress bar on the terminal for each node that counts steps."""

    def __init__(self, workflow: Workflow):
        self.workflow = workflow
        self.bars: dict[str, tqdm] = {}

    def __enter__(self) -> "Bars":
        return self

    def __exit__(self, *_) -> None:
        for bar in self.bars.values():
            bar.close()

    def __call__(self, node: str, value: int, total: int) -> None:
        """Move the node's bar to `value` of `total`."""
        if node not in self.bars:
            name = self.workflow.get(node, {}).get("class_type", node)
            self.bars[node] = step_bar(total, name)
        bar = self.bars[node]
        bar.total = total
        bar.update(value - bar.n)


def step_bar(total: int, name: str) -> tqdm:
    """Return a bar over steps: smooth on a terminal, a line now and then in a log."""
    return tqdm(total=total, desc=name, unit="step", mininterval=0.1 if sys.stderr.isatty() else 10.0)
