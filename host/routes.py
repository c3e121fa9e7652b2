"""What the page may ask the pack for: its graphs, by name."""

import sys
from pathlib import Path

WORKFLOWS = Path(__file__).resolve().parent.parent / "workflows"


def page():
    """The host's server, or None where the host runs without one."""
    module = sys.modules.get("server") or sys.modules.get("comfy.cmd.server")
    return getattr(getattr(module, "PromptServer", None), "instance", None)


def tell_of_new_files() -> None:
    """Let every open page list the model files anew: see web/fewstep.js."""
    server = page()
    if server is not None:
        server.send_sync("fewstep.files", {})


def register() -> None:
    """GET /fewstep/workflows/NAME: the graph of that name."""
    server = page()
    if server is None:
        return
    from aiohttp import web

    @server.routes.get("/fewstep/workflows/{name}")
    async def graph(request):
        found = {file.stem: file for file in WORKFLOWS.glob("*.json")}.get(request.match_info["name"])
        return web.FileResponse(found) if found else web.Response(status=404)
