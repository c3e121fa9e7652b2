"""A stand-in for a ComfyUI server that remembers, forgets, hangs up and dies on request."""

import asyncio
import io
import threading
import uuid
from collections import Counter

from aiohttp import web
from PIL import Image


class FakeServer:
    """Runs what it gets one after another. A graph's picture is as wide as its node 1 says.

    seconds: how long a run takes. takes_ids: whether it takes a client's prompt_id, as newer hosts do.
    """

    def __init__(self, seconds: float = 0.05, takes_ids: bool = True):
        self.seconds, self.takes_ids = seconds, takes_ids
        self.runs = Counter()  # what it began, by our key
        self.hang_up = 0  # so many sockets are closed in the middle of a run
        self.swallow = 0  # so many answers to a graph never arrive
        self.queue, self.history, self.sockets, self.stopped = [], {}, {}, set()
        self.port = 0

    def __enter__(self) -> "FakeServer":
        self.loop, started = asyncio.new_event_loop(), threading.Event()
        self.thread = threading.Thread(target=self._serve, args=(started,), daemon=True)
        self.thread.start()
        assert started.wait(10)
        return self

    def __exit__(self, *_) -> None:
        self._call(self._close())
        self._call(self._stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def die(self) -> None:
        """Cut every connection and stop listening; what it knew stays until `forget`."""
        self._call(self._close())

    def forget(self) -> None:
        """As after a restart."""
        self.queue, self.history = [], {}

    def revive(self) -> None:
        self._call(self._listen())

    def _call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)

    def _serve(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self._listen())
        self.worker = self.loop.create_task(self._work())
        started.set()
        self.loop.run_forever()

    async def _listen(self) -> None:
        app = web.Application()
        app.add_routes([web.post("/prompt", self.prompt), web.get("/ws", self.socket), web.get("/view", self.view)])
        app.add_routes([web.get("/queue", self.get_queue), web.post("/queue", self.delete)])
        app.add_routes([web.get("/history/{id}", self.one), web.get("/history", self.all)])
        app.add_routes([web.post("/interrupt", self.interrupt), web.get("/system_stats", self.stats)])
        self.runner = web.AppRunner(app, shutdown_timeout=0.05, access_log=None)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        for connection in list(self.runner.server.connections):
            if connection.transport is not None:
                connection.transport.abort()
        await self.runner.cleanup()

    async def _stop(self) -> None:
        self.worker.cancel()
        await asyncio.gather(self.worker, return_exceptions=True)

    async def _work(self) -> None:
        while True:
            await asyncio.sleep(0.005)
            if self.queue:
                await self._run(self.queue[0])

    async def _run(self, item: list) -> None:
        _, prompt_id, graph, extra, _ = item
        self.runs[extra["fewstep_key"]] += 1
        say = self._sayer(extra.get("client_id"), prompt_id)
        await say("executing", node="1")
        await asyncio.sleep(self.seconds / 2)
        if self.hang_up:
            self.hang_up -= 1
            await self.sockets[extra["client_id"]].close()
        await say("progress", node="1", value=1, max=2)
        await asyncio.sleep(self.seconds / 2)
        if not any(waiting is item for waiting in self.queue):  # it forgot
            return
        self.queue = [waiting for waiting in self.queue if waiting is not item]
        values = graph["1"]["inputs"]
        name = f"{values['width']}.png"
        status = {"status_str": "success", "completed": True, "messages": []}
        if prompt_id in self.stopped or values.get("fails"):
            kind = "execution_interrupted" if prompt_id in self.stopped else "execution_error"
            data = {"prompt_id": prompt_id, "node_id": "1", "node_type": "Draw", "exception_type": "ValueError"}
            data |= {"exception_message": "out of paint"}
            status = {"status_str": "error", "completed": False, "messages": [[kind, data]]}
        images = [{"filename": name, "subfolder": "", "type": "output"}]
        outputs = {"1": {"images": images}} if status["completed"] else {}
        self.history[prompt_id] = {"prompt": item, "outputs": outputs, "status": status}
        for kind, data in status["messages"]:
            await say(kind, **data)
        await say("executing", node=None)

    def _sayer(self, client: str, prompt_id: str):
        async def say(kind: str, **data) -> None:
            socket = self.sockets.get(client)
            if socket is not None and not socket.closed:
                try:
                    await socket.send_json({"type": kind, "data": {"prompt_id": prompt_id, **data}})
                except ConnectionError:
                    self.sockets.pop(client, None)

        return say

    async def prompt(self, request):
        body = await request.json()
        if body["prompt"]["1"]["inputs"].get("refused"):
            errors = {"1": {"class_type": "Draw", "errors": [{"message": "Value not in list", "details": "refused"}]}}
            return web.json_response({"error": {"message": "failed validation"}, "node_errors": errors}, status=400)
        prompt_id = body["prompt_id"] if self.takes_ids else str(uuid.uuid4())
        extra = {**body["extra_data"], "client_id": body["client_id"]}
        self.queue.append([0, prompt_id, body["prompt"], extra, ["1"]])
        if self.swallow:
            self.swallow -= 1
            request.transport.abort()
        return web.json_response({"prompt_id": prompt_id, "node_errors": {}})

    async def socket(self, request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets[request.query["clientId"]] = socket
        async for _ in socket:
            pass
        return socket

    async def get_queue(self, _):
        return web.json_response({"queue_running": self.queue[:1], "queue_pending": self.queue[1:]})

    async def delete(self, request):
        gone = (await request.json())["delete"]
        self.queue = [item for item in self.queue if item[1] not in gone]
        return web.Response()

    async def interrupt(self, request):
        self.stopped.add((await request.json())["prompt_id"])
        return web.Response()

    async def one(self, request):
        key = request.match_info["id"]
        return web.json_response({key: self.history[key]} if key in self.history else {})

    async def all(self, _):
        return web.json_response(self.history)

    async def stats(self, _):
        return web.json_response({"system": {}})

    async def view(self, request):
        data = io.BytesIO()
        Image.new("RGB", (int(request.query["filename"].removesuffix(".png")), 2)).save(data, "png")
        return web.Response(body=data.getvalue())
