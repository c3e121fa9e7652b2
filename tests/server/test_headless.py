"""`python run.py api` against a real server: sentences, lost sockets, a CSV shared with a host that dies."""

import json
import re
import shutil
import subprocess
import sys
import threading
import time

import pytest
from fewstep.launcher import api, cli, headless
from fewstep.launcher.workflow import assign
from fewstep.tests.helpers.cutting_proxy import cutting_proxy
from fewstep.tests.helpers.server_runs import ROOT
from fewstep.tests.helpers.server_runs import api as workflow
from PIL import Image

FILE = ROOT / "workflows" / "api" / "01_text_to_image_4_steps.json"


def command(tmp_path, ports, *words) -> int:
    """The command itself, in this process."""
    hosts = [word for port in ports for word in ("--host", f"127.0.0.1:{port}")]
    return headless.api(cli.parse(["api", str(FILE), *hosts, "--out", str(tmp_path), "--patience", "3", *words]))


def remembered(client) -> int:
    """How many runs the host has had."""
    return len(client.get("/history"))


def test_one_run_saves_the_hosts_own_file(tmp_path, host, capsys):
    assert command(tmp_path, [host.port], "--set", "EmptyLatentImage.batch_size=2") == 0
    files = sorted(tmp_path.glob("01_text_to_image_4_steps-*.png"))
    assert len(files) == 2 and all(Image.open(file).size == (96, 96) for file in files)
    assert "prompt" in Image.open(files[0]).info  # the graph is in the file: it is not drawn anew
    assert f"Saved {files[0]}" in capsys.readouterr().out


def test_a_lost_socket_does_not_run_the_graph_twice(host, client):
    graph = assign(workflow("base_text_to_image"), "KSampler.seed=4711")
    before = remembered(client)
    with cutting_proxy(host.port) as proxy:
        cuts = []

        def cut_once(node, value, total):
            if not cuts:
                cuts.append(value)
                proxy.cut()

        outputs = api.Client(f"http://127.0.0.1:{proxy.port}").submit(graph, timeout=300, progress=cut_once)
    assert cuts and [image for output in outputs.values() for image in output.get("images", [])]
    assert remembered(client) == before + 1


@pytest.mark.parametrize(
    "setting, sentence",
    [
        ("FewStepLoadLora.lora_name=nobody.safetensors", r"refused the graph.*FewStepLoadLora\).*nobody\.safetensors"),
        ("FewStepLoadLora.steps=0", r"refused the graph.*FewStepLoadLora\).*steps"),
    ],
)
def test_what_the_host_refuses_is_a_sentence(tmp_path, host, setting, sentence):
    with pytest.raises(api.WorkflowError, match=f"(?s){sentence}") as caught:
        command(tmp_path, [host.port], "--set", setting)
    assert len(str(caught.value)) < 1500


def test_a_node_that_fails_is_named(tmp_path, host, client):
    graph = json.loads(FILE.read_text(encoding="utf-8"))
    (loader,) = [key for key, node in graph.items() if node["class_type"] == "FewStepLoadLora"]
    (sampler,) = [key for key, node in graph.items() if node["class_type"] == "SamplerCustom"]
    graph["s"] = {"class_type": "FewStepSchedule", "inputs": {"model": [loader, 0], "scheduler": "explicit"}}
    graph["s"]["inputs"] |= {"steps": 4, "denoise": 1.0, "original_steps": 50, "timesteps": "4, x"}
    graph[sampler]["inputs"]["sigmas"] = ["s", 0]
    with pytest.raises(api.WorkflowError, match=r"node s \(FewStepSchedule\) failed with ValueError: .*integers"):
        client.submit(graph, timeout=300)


def dying(proxy, results) -> None:
    """The proxy dies when three rows are done."""
    while not results.exists() or results.read_text().count("\n") < 4:
        time.sleep(0.02)
    proxy.die()


def test_a_csv_is_shared_with_a_host_that_dies(tmp_path, host, client):
    """The second host is the first seen through a proxy, which dies on the way."""
    lines = [f'"red apple, 3d style",{seed},{1 + seed % 4}' for seed in range(8)]
    table, results = tmp_path / "values.csv", tmp_path / "out" / "01_text_to_image_4_steps-values.results.jsonl"
    table.write_text("\n".join(["3.text,SamplerCustom.noise_seed,FewStepLoadLora.steps", *lines]))
    before = remembered(client)
    with cutting_proxy(host.port) as proxy:
        helper = threading.Thread(target=dying, args=(proxy, results))
        helper.start()
        assert command(tmp_path / "out", [host.port, proxy.port], "--csv", str(table)) == 0
        helper.join()
    found = [json.loads(line) for line in results.read_text().splitlines()[1:]]
    assert sorted(record["row"] for record in found) == list(range(1, 9))
    assert sum(record["host"].endswith(str(host.port)) for record in found) >= 4
    for record in found:
        name, *others = record["files"]
        assert len(others) == 3  # the workflow draws four
        prompt = json.loads(Image.open(tmp_path / "out" / name).info["prompt"])
        seeds = [node["inputs"]["noise_seed"] for node in prompt.values() if node["class_type"] == "SamplerCustom"]
        assert seeds == [record["row"] - 1]
    # The "dead" host lives on behind its proxy: the row that was on its way may have been run there as well as here.
    ran = remembered(client)
    assert before + 8 <= ran <= before + 9
    assert command(tmp_path / "out", [host.port], "--csv", str(table)) == 0  # nothing is left to run
    assert remembered(client) == ran and not re.search("error", results.read_text())


@pytest.fixture
def examples(tmp_path, host):
    """{language: the code of docs/headless.md for this host}, beside a copy of the workflows."""
    shutil.copytree(ROOT / "workflows" / "api", tmp_path / "workflows" / "api")
    page = (
        (ROOT / "docs" / "headless.md").read_text(encoding="utf-8").replace("127.0.0.1:8188", f"127.0.0.1:{host.port}")
    )
    python = re.search(r"```python\n(.*?)```", page, re.DOTALL)[1]
    curl = [line for line in page.splitlines() if line.startswith("curl ")]
    return tmp_path, python, curl


def test_the_pages_python_runs_as_it_stands(examples):
    folder, python, _ = examples
    done = subprocess.run([sys.executable, "-c", python], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    names = done.stdout.split()
    assert len(names) == 4 and all(Image.open(folder / name).size == (96, 96) for name in names)


@pytest.mark.skipif(not shutil.which("curl") or not shutil.which("bash"), reason="curl is not installed here")
def test_the_pages_curl_runs_as_it_stands(examples, client):
    folder, _, lines = examples

    def run(line: str) -> str:
        return subprocess.run(["bash", "-c", line], cwd=folder, capture_output=True, text=True, timeout=60).stdout

    prompt_id = json.loads(run(lines[0]))["prompt_id"]
    deadline = time.monotonic() + 120
    while not (history := json.loads(run(lines[1].replace("ID", prompt_id)))):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    (image, *_) = next(output["images"] for output in history[prompt_id]["outputs"].values() if "images" in output)
    run(lines[2].replace("fewstep_4_steps_00001_.png", image["filename"]))
    assert Image.open(folder / "apple.png").size == (96, 96)


def test_the_command_line_itself(tmp_path, host):
    words = [sys.executable, str(ROOT / "run.py"), "api", str(FILE), "--host", f"127.0.0.1:{host.port}"]
    words += ["--out", str(tmp_path), "--python", sys.executable, "--set", "EmptyLatentImage.batch_size=1"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "01_text_to_image_4_steps-1.png").is_file()
