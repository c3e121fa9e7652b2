"""Every source of data through /prompt: a short run each, and what is said about data that cannot be used."""

import pytest
from fewstep.tests.helpers.image_files import picture, shard
from fewstep.tests.helpers.server_runs import api
from fewstep.training.state import RunFolder

QUICK = {"steps": 2, "batch_size": 2, "preview_every": 2}
SIZES = ((100, 100), (60, 150), (150, 60), (120, 100))
LCM, SWIFTBRUSH = "4", "40"  # the graph's method nodes
TEACHER = {"width": 96, "height": 96, "teacher_steps": 2, "teacher_cfg": 2.0}


def pictures_in(folder) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, size in enumerate(SIZES):
        (folder / f"{number}.png").write_bytes(picture(size, ("red", "blue", "lime", "gold")[number]))
        (folder / f"{number}.txt").write_text(f"picture {number}")


def graph() -> dict:
    """Checkpoint, text encoding and two methods of the workflows, without data and runs."""
    workflow = {key: node for key, node in api("distil_lcm_lora").items() if key in ("1", "4", "6")}
    workflow["6"]["inputs"]["text"] = "red apple"
    workflow[SWIFTBRUSH] = api("distil_swiftbrush")["4"]
    return workflow


def add_run(workflow: dict, name: str, node: str, method: str = LCM, **inputs) -> None:
    """A run of its own on this data, named after it."""
    workflow[f"{name}-data"] = {"class_type": node, "inputs": {**TEACHER, **inputs}}
    settings = {**api("distil_lcm_lora")["5"]["inputs"], **QUICK, "rank": 4, "preview_prompts": ""}
    settings |= {"data": [f"{name}-data", 0], "method": [method, 0], "run_name": name}
    workflow[name] = {"class_type": "FewStepDistill", "inputs": settings}


def add_list(workflow: dict, object_info: dict) -> tuple[list, list]:
    """(LATENT list, CONDITIONING): by the host's dataset nodes where it has them, else a batch taken apart."""
    if "MakeTrainingDataset" in object_info:
        workflow["50"] = {"class_type": "LoadImageTextDataSetFromFolder", "inputs": {"folder": "mixed"}}
        parts = {"images": ["50", 0], "texts": ["50", 1], "vae": ["1", 2], "clip": ["1", 1]}
        workflow["51"] = {"class_type": "MakeTrainingDataset", "inputs": parts}
        return ["51", 0], ["51", 1]
    workflow["50"] = {"class_type": "LoadImage", "inputs": {"image": "one.png"}}
    workflow["51"] = {"class_type": "VAEEncode", "inputs": {"pixels": ["50", 0], "vae": ["1", 2]}}
    workflow["52"] = {"class_type": "RepeatLatentBatch", "inputs": {"samples": ["51", 0], "amount": 3}}
    workflow["53"] = {"class_type": "RebatchLatents", "inputs": {"latents": ["52", 0], "batch_size": 1}}
    return ["53", 0], ["6", 0]


def test_a_run_on_every_source_of_data(client, host, object_info):
    """A table of prompts past the cap, a folder in buckets, shards, the host's lists, and conditioning alone."""
    root = host.workdir / "input"
    pictures_in(root / "mixed")
    (root / "one.png").write_bytes(picture((96, 96)))
    shard(root / "shards" / "0.tar", {f.name: f.read_bytes() for f in sorted((root / "mixed").iterdir())})
    (root / "words.csv").write_text("id,words\n" + "".join(f'{n},"thing {n}, red"\n' for n in range(200)))
    workflow = graph()
    workflow["2"] = {"class_type": "FewStepPrompts", "inputs": {"text": "", "file": "words.csv", "column": "words"}}
    drawn = {"folder": "", "count": 4, "prompts": ["2", 0], "text_cache": 1}
    add_run(workflow, "from-table", "FewStepDataset", SWIFTBRUSH, **drawn)
    add_run(workflow, "from-buckets", "FewStepDataset", folder="mixed", count=1, buckets=8)
    add_run(workflow, "from-shards", "FewStepDataset", folder="shards", count=1)
    latents, conditioning = add_list(workflow, object_info)
    add_run(workflow, "from-host", "FewStepDataFromHost", latents=latents, conditioning=conditioning)
    add_run(workflow, "from-conditioning", "FewStepDataFromHost", SWIFTBRUSH, conditioning=["6", 0])
    client.submit(workflow, timeout=600)
    runs = host.workdir / "output" / "fewstep_runs"
    for name in ("from-table", "from-buckets", "from-shards", "from-host", "from-conditioning"):
        assert len(RunFolder(runs / name).metrics()) == QUICK["steps"], name
        kept = name in ("from-buckets", "from-shards")
        assert bool(list((runs / name).glob("latents-*"))) == kept, name


ERRORS = [
    ({"class_type": "FewStepDataset", "inputs": {"folder": "torn"}}, "0.tar is no whole, uncompressed tar file"),
    ({"class_type": "FewStepDataset", "inputs": {"folder": "unread"}}, "1.png in 0.tar cannot be read as a picture"),
    ({"class_type": "FewStepDataset", "inputs": {"folder": "words"}}, "holds no pictures .* but 1 captions without"),
    ({"class_type": "FewStepDataset", "inputs": {"folder": "words", "buckets": 12}}, "no multiple of 8 pixels"),
    ({"class_type": "FewStepPrompts", "inputs": {"file": "empty.csv"}}, "column of empty.csv has no text in any row"),
    ({"class_type": "FewStepPrompts", "inputs": {"file": "latin.txt"}}, "latin.txt is not UTF-8 text"),
    (
        {"class_type": "FewStepPrompts", "inputs": {"file": "empty.csv", "column": "words"}},
        "empty.csv has no column 'words'. Write one of these into column: id, prompt",
    ),
    (
        {"class_type": "FewStepDataFromHost", "inputs": {"conditioning": ["7", 0]}},
        "FewStep Data From Host: a conditioning covers a part of the picture",
    ),
]


@pytest.fixture(scope="module")
def bad_data(host) -> None:
    root = host.workdir / "input"
    torn = shard(root / "torn" / "0.tar", {"1.png": picture((8, 8)), "1.txt": b"a"})
    torn.write_bytes(torn.read_bytes()[:600])
    shard(root / "unread" / "0.tar", {"1.png": picture((8, 8))[:40], "1.txt": b"a"})
    (root / "words").mkdir(exist_ok=True)
    (root / "words" / "1.txt").write_text("a")
    (root / "empty.csv").write_text("id,prompt\n1,\n")
    (root / "latin.txt").write_bytes("caf\xe9".encode("latin-1"))


@pytest.mark.parametrize("node, message", ERRORS)
def test_data_that_cannot_be_used_gets_a_sentence(node, message, client, bad_data):
    workflow = graph()
    area = {"conditioning": ["6", 0], "width": 64, "height": 64, "x": 0, "y": 0, "strength": 1.0}
    workflow["7"] = {"class_type": "ConditioningSetArea", "inputs": area}
    data = {"folder": "", "count": 2}
    if node["class_type"] == "FewStepPrompts":
        workflow["2"] = {**node, "inputs": {"text": "", **node["inputs"]}}
        node = {"class_type": "FewStepDataset", "inputs": {"prompts": ["2", 0]}}
    if node["class_type"] == "FewStepDataFromHost":
        data = {}
    add_run(workflow, "bad-data", node["class_type"], **{**data, **node["inputs"]})
    with pytest.raises(RuntimeError, match=message):
        client.submit(workflow, timeout=300)
