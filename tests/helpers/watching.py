"""A run followed over the websocket as a page does: its texts and preview pictures as they came."""

import asyncio
import io
import struct
import uuid

import aiohttp
from PIL import Image

PREVIEW, TEXT = 1, 3  # kinds of the host's binary messages


def watched(url: str, workflow: dict, limit: float = 300) -> tuple[list[tuple[str, str]], list[Image.Image], list]:
    """([(node, text)], previews, [(event, data)]) of one submitted graph, to its end."""
    return asyncio.run(asyncio.wait_for(follow(url, workflow), limit))


async def follow(url: str, workflow: dict):
    texts, previews, events, me = [], [], [], uuid.uuid4().hex
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{url}/ws?clientId={me}", max_msg_size=0) as ws:
        sent = {"prompt": workflow, "client_id": me}
        async with session.post(f"{url}/prompt", json=sent) as reply:
            prompt = (await reply.json())["prompt_id"]
        async for message in ws:
            if message.type == aiohttp.WSMsgType.BINARY:
                (kind,) = struct.unpack(">I", message.data[:4])
                if kind == TEXT:
                    (length,) = struct.unpack(">I", message.data[4:8])
                    body = message.data[8:].decode()
                    texts.append((body[:length], body[length:]))
                elif kind == PREVIEW:
                    previews.append(Image.open(io.BytesIO(message.data[8:])).convert("RGB"))
                continue
            event = message.json()
            data = event.get("data", {})
            events.append((event["type"], data))
            mine = data.get("prompt_id") == prompt
            if mine and (event["type"] == "execution_error" or data.get("node", 0) is None):
                return texts, previews, events
    raise AssertionError("the host closed the connection")
