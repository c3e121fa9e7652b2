"""A TCP proxy before a real server, which cuts its connections when told."""

import asyncio
import threading
from contextlib import contextmanager


class CuttingProxy:
    """Passes bytes both ways; `cut` breaks every connection, websockets among them."""

    def __init__(self, port: int):
        self.target, self.port, self.open, self.dead = port, 0, set(), False

    def cut(self) -> None:
        self.loop.call_soon_threadsafe(lambda: [writer.transport.abort() for writer in list(self.open)])

    def die(self) -> None:
        """From now on nobody is there."""
        self.dead = True
        self.cut()

    async def serve(self, started: threading.Event) -> None:
        self.loop, self.stopped = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self.passed, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await self.stopped.wait()
        server.close()

    async def passed(self, reader, writer) -> None:
        if self.dead:
            writer.transport.abort()
            return
        there, back = await asyncio.open_connection("127.0.0.1", self.target)
        self.open |= {writer, back}
        await asyncio.gather(copied(reader, back), copied(there, writer))
        self.open -= {writer, back}


async def copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass  # cut, or hung up: the other direction ends too
    writer.close()


@contextmanager
def cutting_proxy(port: int):
    """A proxy in a thread of its own for the length of a `with` block."""
    proxy, started = CuttingProxy(port), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(proxy.serve(started)), daemon=True)
    thread.start()
    assert started.wait(10)
    yield proxy
    proxy.loop.call_soon_threadsafe(proxy.stopped.set)
    thread.join(10)
