"""Progress bars, pictures beside them, and cancel."""

import time
from collections.abc import Callable

from comfy import model_management, utils
from PIL import Image

try:
    import latent_preview
except ImportError:  # the PyPI host, when it is used in-process
    from comfy.cmd import latent_preview

try:
    from comfy_execution.graph_utils import ExecutionBlocker
except ImportError:  # the PyPI host has none
    ExecutionBlocker = None

try:
    from comfy.interruption import InterruptProcessingException, processing_interrupted  # the PyPI host's
except ImportError:
    from comfy.model_management import InterruptProcessingException, processing_interrupted

from .routes import page
from .sockets import Model

Cancelled = InterruptProcessingException  # what the user's cancel raises
LARGEST = 1024  # pixels of a preview's longer side, as the page gets it


def preview_callback(model: Model, steps: int) -> Callable:
    """The host's own callback of a sampling loop: progress, preview picture, cancel."""
    return latent_preview.prepare_callback(model, steps)


def say(text: str) -> None:
    """Show a text on the node that runs now, on pages that can (those of 0.3.40 and later)."""
    server = page()
    if hasattr(server, "send_progress_text") and server.last_node_id:
        server.send_progress_text(text, server.last_node_id, server.client_id)


class Says:
    """Texts on the running node, at most one in half a second; always: also when one has just been said."""

    def __init__(self, pause: float = 0.5):
        self.pause, self.last = pause, float("-inf")

    def __call__(self, text: str, always: bool = False) -> None:
        if always or time.monotonic() - self.last >= self.pause:
            self.now(text)

    def now(self, text: str) -> None:
        self.last = time.monotonic()
        say(text)


def held_back(instead):
    """An output that is not there yet: the host leaves out the nodes behind it, or gets `instead` where it cannot."""
    return ExecutionBlocker(None) if ExecutionBlocker else instead


def cancel(pressed: bool = True) -> None:
    """As if the user had pressed cancel; False takes it back."""
    model_management.interrupt_current_processing(pressed)


def is_cancelled() -> bool:
    """Whether the user has pressed cancel and nothing has been stopped by it yet."""
    return bool(processing_interrupted())


def throw_if_cancelled() -> None:
    """Raise the host's exception when the user has pressed cancel."""
    model_management.throw_exception_if_processing_interrupted()


class Progress:
    """A progress bar of one node, with an optional picture."""

    def __init__(self, total: int):
        self.total, self.bar = total, utils.ProgressBar(total)

    def show(self, done: int, picture: Image.Image | None = None) -> None:
        preview = ("JPEG", picture, LARGEST) if picture is not None else None
        self.bar.update_absolute(done, self.total, preview)
