"""The page's workflows as people open them: grouped, titled, with a note, on a laptop's width, nothing over another."""

import json
from itertools import combinations
from pathlib import Path

import pytest
from fewstep.tools import family_workflows, layout
from fewstep.tools.ui_format import twins

FILES = sorted((Path(__file__).resolve().parents[2] / "workflows").glob("*.json"))
TITLE = layout.ROOM_FOR_TITLE


def read(file: Path) -> dict:
    return json.loads(file.read_text(encoding="utf-8"))


def box(node: dict) -> tuple[int, int, int, int]:
    """(left, top, right, bottom), the title with it."""
    (x, y), (width, height) = node["pos"], node["size"]
    return x, y - TITLE, x + width, y + height


def apart(a: tuple, b: tuple) -> bool:
    return a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def around(group: dict) -> tuple[int, int, int, int]:
    x, y, width, height = group["bounding"]
    return x, y, x + width, y + height


def inside(a: tuple, b: tuple) -> bool:
    return b[0] <= a[0] and b[1] <= a[1] and a[2] <= b[2] and a[3] <= b[3]


def test_the_templates_are_numbered_from_drawing_to_published_files():
    """Pages list them as the host does, or by name: two digits put them in order either way, each number once."""
    names = [file.stem for file in FILES]
    assert names == [file.stem for file in twins()]
    assert all(name[:2].isdigit() and name[2] == "_" for name in names) and names[0] == "01_text_to_image_4_steps"
    assert len({name[:2] for name in names}) == len({name[3:] for name in names}) == len(names)
    kinds = {"distil": "23", "interpolate": "3", "family": "45"}
    assert all(name[0] in kinds.get(name[3:].split("_")[0], "0123") for name in names)
    assert sum("_family_" in name for name in names) == len(family_workflows.SHOWN) < len(family_workflows.ROWS)


def test_an_app_is_one_by_its_name_too():
    """Today's page opens it by `linearMode` and marks it by the name; one without the other would mislead."""
    apps = [file.stem for file in FILES if read(file)["extra"].get("linearMode")]
    assert apps == [file.stem for file in FILES if file.stem.endswith(".app")] and apps


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_it_is_grouped_and_noted_and_fits(file):
    workflow = read(file)
    nodes = [node for node in workflow["nodes"] if node["type"] != "Note"]
    (note,) = (node for node in workflow["nodes"] if node["type"] == "Note")
    frames, boxes = [around(group) for group in workflow["groups"]], [box(node) for node in [*nodes, note]]
    assert all(apart(a, b) for a, b in [*combinations(boxes, 2), *combinations([*frames, box(note)], 2)])
    assert all(sum(inside(box(node), frame) for frame in frames) == 1 for node in nodes)
    assert max(frame[2] for frame in frames) <= layout.MOST_WIDE and min(frame[0] for frame in frames) >= 0
    names = [group["title"].split(" ", 1) for group in workflow["groups"]]
    assert [number for number, _ in names] == [str(i + 1) for i in range(len(names))]
    stages = [name for _, name in names]
    assert stages == [name for name in layout.STAGES if name in stages]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_text_encoders_say_which_is_which(file):
    workflow = read(file)
    by_id = {node["id"]: node for node in workflow["nodes"]}
    for _, start, _, end, slot, _ in workflow["links"]:
        socket = by_id[end]["inputs"][slot]["name"]
        if by_id[start]["type"] == "CLIPTextEncode" and socket in ("positive", "negative"):
            title = by_id[start]["title"]
            assert title == "Prompt" if socket == "positive" else title in ("Negative prompt", "Prompt")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_workflow_opens_without_a_file_of_the_users(file):
    """A Load Image with a name from somebody else's folder is "Media input missing" on the page."""
    assert "LoadImage" not in {node["type"] for node in read(file)["nodes"]}


def test_the_stages_of_a_training_are_told_apart():
    workflow = read(FILES[0].parent / "api" / "29_distil_chain.json")
    found = {node["class_type"]: layout.stage(workflow, key) for key, node in workflow.items()}
    assert found["CheckpointLoaderSimple"] == found["FewStepDataset"] == "Load"
    assert found["FewStepMethodFeedback"] == found["FewStepRewardLiT"] == "Method"
    assert found["FewStepDistill"] == "Train" and found["FewStepInterpolateLoras"] == "Merge"
    assert found["FewStepLoadLora"] == "Try"  # of the file that the graph has just made


def test_a_missing_file_can_be_fetched_where_the_official_templates_say_whence():
    templates = pytest.importorskip("comfyui_workflow_templates_json", reason="requirements-test.txt")
    text = "".join(f.read_text(encoding="utf-8") for f in Path(templates.__file__).parent.rglob("*.json"))
    offered = {}
    for file in FILES:
        for node in read(file)["nodes"]:
            for model in node["properties"].get("models", []):
                assert model["name"] in node["widgets_values"]
                assert model["url"] in text, f"{model['url']} is in no official template"
                offered[model["name"]] = model
    shown = [file.name for row in family_workflows.ROWS if row.shown for file in (*row.files, *row.base)]
    assert offered == {name: model for name, model in family_workflows.MODELS.items() if name in shown}
    assert len(offered) >= 10
