"""A node on a page after its function has returned: what it is doing elsewhere still arrives there."""

import sys
from dataclasses import dataclass

from PIL import Image

from .progress import LARGEST, cancel, is_cancelled
from .routes import page


@dataclass(frozen=True)
class Spot:
    """client: the page that queued the node, in its prompt."""

    server: object
    client: str | None
    node: str
    prompt: str | None

    @classmethod
    def here(cls) -> "Spot | None":
        """The node that runs now; None without a server."""
        server = page()
        if server is None or not server.last_node_id:
            return None
        return cls(server, server.client_id, server.last_node_id, getattr(server, "last_prompt_id", None))

    @property
    def where(self) -> dict:
        return {"prompt_id": self.prompt, "node": self.node}

    def text(self, text: str) -> None:
        if hasattr(self.server, "send_progress_text"):
            self.server.send_progress_text(text, self.node, self.client)

    def bar(self, done: int, total: int) -> None:
        self.server.send_sync("progress", {"value": done, "max": total, **self.where}, self.client)

    def picture(self, picture: Image.Image) -> None:
        """In the host's message that names the node, where it knows one."""
        kinds = (sys.modules.get("server") or sys.modules["comfy.cmd.server"]).BinaryEventTypes
        image = ("JPEG", picture.convert("RGB"), LARGEST)
        if hasattr(kinds, "PREVIEW_IMAGE_WITH_METADATA"):
            place = {key: self.node for key in ("node_id", "display_node_id", "parent_node_id", "real_node_id")}
            message = (image, {**place, "prompt_id": self.prompt})
            self.server.send_sync(kinds.PREVIEW_IMAGE_WITH_METADATA, message, self.client)
        else:
            self.server.send_sync(kinds.UNENCODED_PREVIEW_IMAGE, image, self.client)

    def idle(self) -> bool:
        """Whether the host runs no graph."""
        return not self.server.prompt_queue.get_current_queue()[0]


class Cancel:
    """The user's cancel while no graph runs. Pressed during one it means that graph, also when it ends meanwhile."""

    def __init__(self, spot: Spot):
        self.spot, self.armed = spot, False

    def pressed(self) -> bool:
        """Whether it has been pressed since the last look, at which no graph ran either.

        What is up while none runs is taken back in any case: a press left over from the last graph would hide the next.
        """
        idle, flag = self.spot.idle(), is_cancelled()
        heard = self.armed and idle and flag
        if idle and flag:
            cancel(False)
        self.armed = idle
        return heard
