"""The API client against a stand-in for the host, and the patching of workflows."""

import asyncio
import io
import json
import threading

import pytest
from aiohttp import web
from fewstep.launcher import api, demo, workflow
from PIL import Image

GRAPH = {
    "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "a"}},
    "2": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["1", 1], "text": "yes"}},
    "3": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["1", 1], "text": "no"}},
    "4": {"class_type": "KSampler", "inputs": {"positive": ["2", 0], "negative": ["3", 0], "steps": 4, "cfg": 1.0}},
}
DONE = [
    {"type": "status", "data": {"sid": "x"}},
    {"type": "executing", "data": {"node": "9", "prompt_id": "somebody else's"}},
    {"type": "executing", "data": {"node": "4", "prompt_id": "p"}},
    {"type": "progress", "data": {"value": 3, "max": 4, "node": "4", "prompt_id": "p"}},
    {"type": "executing", "data": {"node": None, "prompt_id": "p"}},
]
REFUSAL = {
    "error": {"message": "Prompt outputs failed validation", "details": ""},
    "node_errors": {"4": {"class_type": "KSampler", "errors": [{"message": "Value not in list", "details": "steps"}]}},
}


class Stub:
    """A host that gives prepared answers, served from a thread."""

    def __init__(self, messages=(), refusal=None):
        self.messages, self.refusal, self.interrupted = messages, refusal, False
        self.key = None
        self.go = asyncio.Event()

    def __enter__(self) -> str:
        self.loop, started = asyncio.new_event_loop(), threading.Event()
        self.thread = threading.Thread(target=self.serve, args=(started,))
        self.thread.start()
        assert started.wait(10)
        return f"http://127.0.0.1:{self.port}"

    def __exit__(self, *_) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()

    def serve(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self.loop)
        app = web.Application()
        app.add_routes([web.post("/prompt", self.prompt), web.get("/ws", self.socket), web.get("/view", self.view)])
        app.add_routes([web.post("/interrupt", self.interrupt), web.get("/history/{id}", self.history)])
        app.add_routes([web.get("/queue", self.queue)])
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        self.loop.run_until_complete(runner.setup())
        site = web.TCPSite(runner, "127.0.0.1", 0)
        self.loop.run_until_complete(site.start())
        self.port = site._server.sockets[0].getsockname()[1]
        started.set()
        self.loop.run_forever()
        self.loop.run_until_complete(runner.cleanup())
        self.loop.close()

    async def prompt(self, request):
        self.go.set()
        self.key = (await request.json())["extra_data"][api.KEY]
        if self.refusal:
            return web.json_response(self.refusal, status=400)
        return web.json_response({"prompt_id": "p", "node_errors": {}})

    async def socket(self, request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await self.go.wait()
        await socket.send_bytes(b"a preview")
        for message in self.messages:
            await socket.send_json(message)
        async for _ in socket:  # until the client closes it
            pass
        return socket

    async def history(self, request):
        images = [{"filename": "f.png", "subfolder": "s", "type": "output"}]
        record = {"prompt": [0, "p", {}, {api.KEY: request.match_info["id"]}], "outputs": {"7": {"images": images}}}
        return web.json_response({"p": record})

    async def queue(self, request):
        running = [[0, "p", {}, {api.KEY: self.key}]] if self.key else []
        return web.json_response({"queue_running": running, "queue_pending": []})

    async def view(self, request):
        assert dict(request.query) == {"filename": "f.png", "subfolder": "s", "type": "output"}
        data = io.BytesIO()
        Image.new("RGB", (3, 2), "red").save(data, "png")
        return web.Response(body=data.getvalue())

    async def interrupt(self, request):
        self.interrupted = True
        return web.Response()


def test_run_reports_progress_times_and_pictures():
    seen = []
    with Stub(DONE) as url:
        client = api.Client(url)
        run = client.run(GRAPH, progress=lambda *step: seen.append(step))
        (picture,) = client.pictures(run.outputs)
    assert seen == [("4", 3, 4)] and picture.size == (3, 2)
    assert set(run.node_seconds) == {"4"} and 0 <= run.node_seconds["4"] <= run.seconds


def test_refusal_names_node_and_reason():
    expected = r"(?s)outputs failed validation\n  node 4 \(KSampler\): Value not in list: steps"
    with Stub(refusal=REFUSAL) as url, pytest.raises(api.WorkflowError, match=expected):
        api.Client(url).submit(GRAPH)


def test_failure_names_node_and_shows_the_log(tmp_path):
    (tmp_path / "log").write_text("out of paint\n")
    data = {
        "prompt_id": "p",
        "node_id": "4",
        "node_type": "KSampler",
        "exception_type": "E",
        "exception_message": "boo",
    }
    expected = r"(?s)node 4 \(KSampler\) failed with E: boo.*out of paint"
    with Stub([{"type": "execution_error", "data": data}]) as url, pytest.raises(api.WorkflowError, match=expected):
        api.Client(url, tmp_path / "log").submit(GRAPH)


def test_too_slow_a_graph_is_cancelled():
    stub = Stub(DONE[:-1])
    with stub as url, pytest.raises(api.WorkflowError, match=r"not done within 0\.2 s"):
        api.Client(url).submit(GRAPH, timeout=0.2)
    assert stub.interrupted


def test_the_lost_host_of_our_own_is_told_with_its_log(tmp_path):
    (tmp_path / "log").write_text("out of memory\n")
    client = api.Client("http://127.0.0.1:9", tmp_path / "log", alive=lambda: False)
    with pytest.raises(api.HostLost, match=r"(?s)127\.0\.0\.1:9 was lost .*out of memory"):
        client.submit(GRAPH)


def test_patching_leaves_the_original_alone():
    changed = workflow.with_prompts(workflow.patched(GRAPH, "KSampler", steps=8), "4", "a fox", "blur")
    assert (changed["2"]["inputs"]["text"], changed["3"]["inputs"]["text"]) == ("a fox", "blur")
    assert changed["4"]["inputs"]["steps"] == 8 and GRAPH["4"]["inputs"]["steps"] == 4


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda: workflow.patched(GRAPH, "KSampler", stepz=8), r"no input 'stepz'. It has: positive, negative, steps"),
        (lambda: workflow.patched(GRAPH, "CLIPTextEncode", text=""), r"one CLIPTextEncode node, it has 2"),
        (
            lambda: workflow.with_prompts({**GRAPH, "3": GRAPH["2"]}, "1", "a"),
            r"'positive' of node 1 .* must be a link",
        ),
        (lambda: workflow.assign(GRAPH, "KSampler.steps"), r"node.input=value"),
    ],
)
def test_wrong_patches_are_refused(change, complaint):
    with pytest.raises(ValueError, match=complaint):
        change()


def test_settings_keep_the_kind_of_value():
    changed = workflow.assign(workflow.assign(GRAPH, "KSampler.steps=8"), "2.text=1984")
    assert changed["4"]["inputs"]["steps"] == 8 and changed["2"]["inputs"]["text"] == "1984"


@pytest.mark.parametrize(
    ("content", "complaint"), [('{"nodes": []}', "Export"), ("{", "not JSON"), ("[]", "class_type")]
)
def test_other_files_are_no_workflows(tmp_path, content, complaint):
    (tmp_path / "w.json").write_text(content)
    with pytest.raises(ValueError, match=complaint):
        workflow.load(tmp_path / "w.json")


def test_demo_graph_carries_the_columns_values():
    subject = demo.Subject("mine.safetensors", "", ("a fox",), 512, 7.0)
    base = [column for column in demo.all_columns(subject) if not column.ours]
    assert [(column.steps, column.passes) for column in base] == [(25, 50), (4, 8), (4, 4)]
    plan = demo.graph(base[2], subject, "a fox", 5)
    inputs = plan[workflow.find(plan, "KSampler")]["inputs"]
    assert (inputs["steps"], inputs["cfg"], inputs["seed"], inputs["sampler_name"]) == (4, 1.0, 5, "uni_pc")
    assert json.dumps(plan).count("mine.safetensors") == 1 and '"a fox"' in json.dumps(plan)


def test_sdxl_is_told_by_its_header(tmp_path):
    header = json.dumps({"conditioner.embedders.1.model.ln_final.weight": {}}).encode()
    (tmp_path / "xl.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    (tmp_path / "sd.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    assert demo.is_sdxl(tmp_path / "xl.safetensors")
    assert not demo.is_sdxl(tmp_path / "sd.safetensors") and not demo.is_sdxl(tmp_path / "sd.ckpt")
