"""Workflows read as data: both formats, subgraphs, switches, bypassed parts; and what is said of few-step files."""

import json
from pathlib import Path

import pytest
from fewstep.launcher import cli
from fewstep.tools.ui_format import twin_of
from fewstep.weights.workflows import check, report, runs, values
from fewstep.weights.workflows.graph import Node, from_data, read

ROOT = Path(__file__).resolve().parents[2]
LORA = "Qwen-Image-Lightning-4steps-V1.0.safetensors"
SHIPPED = sorted((ROOT / "workflows" / "api").rglob("*.json"))


def api(lora: str = LORA, strength: float = 1.0, shift: float | None = 3.0, **sampler) -> dict:
    """A LoRA, a shift, a KSampler."""
    settings = {"steps": 4, "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple", "denoise": 1.0, **sampler}
    lora_inputs = {"model": ["1", 0], "lora_name": lora, "strength_model": strength}
    made = {
        "1": {"class_type": "UNETLoader", "inputs": {"unet_name": "base.safetensors", "weight_dtype": "default"}},
        "2": {"class_type": "LoraLoaderModelOnly", "inputs": lora_inputs},
        "3": {"class_type": "ModelSamplingAuraFlow", "inputs": {"model": ["2", 0], "shift": shift}},
        "4": {"class_type": "KSampler", "inputs": {"model": ["3" if shift else "2", 0], **settings}},
    }
    return made if shift else {key: node for key, node in made.items() if key != "3"}


def changes(data: dict) -> dict[str, str]:
    return {finding.field: finding.wanted for finding in check.check(from_data(data))}


@pytest.mark.parametrize(
    "given, wanted",
    [
        ({}, {}),
        ({"shift": 3.1}, {}),  # nobody sees the difference
        ({"steps": 20, "cfg": 4.0}, {"steps": "4", "cfg": "1"}),
        ({"shift": 8.0}, {"schedule": "shift 3: 1, 0.9, 0.75, 0.5, 0"}),
        ({"shift": None}, {}),  # the base's own shift is near to it
        ({"scheduler": "beta"}, {"schedule": "shift 3: 1, 0.9, 0.75, 0.5, 0"}),
        ({"sampler_name": "dpmpp_2m"}, {"sampler": "euler"}),
        ({"strength": 0.3}, {"strength": "1"}),
        ({"denoise": 0.5, "steps": 8}, {}),
        (
            {"lora": "Wan21_CausVid_14B_T2V_lora_rank32.safetensors", "shift": 8.0, "sampler_name": "uni_pc"},
            {"strength": "0.3-0.7"},
        ),
        ({"lora": "sdxl_lightning_4step_lora.safetensors", "shift": None, "scheduler": "sgm_uniform"}, {}),
        ({"lora": "some-new-lightning-4steps.safetensors"}, {"known": "its author's page"}),
        ({"lora": "a-style.safetensors", "steps": 30, "cfg": 7.0}, {}),
        ({"lora": "style_for_z_image_turbo.safetensors", "steps": 30}, {}),
    ],
)
def test_what_is_to_be_changed(given, wanted):
    assert changes(api(**given)) == wanted


def test_halves_of_a_schedule_are_compared_as_halves():
    """Wan 2.2's high-noise LoRA: the first two of four steps at shift 5."""
    name = "wan2.2_i2v_lightx2v_4steps_lora_v1_high_noise.safetensors"
    data = api(name, shift=5.0)
    data["4"]["class_type"] = "KSamplerAdvanced"
    data["4"]["inputs"] |= {"start_at_step": 0, "end_at_step": 2, "add_noise": "enable"}
    assert changes(data) == {}
    data["3"]["inputs"]["shift"] = 8.0
    assert changes(data) == {"schedule": "shift 5: 1, 0.9375, 0.8333"}
    data["4"]["inputs"]["end_at_step"] = 10000  # all four
    assert set(changes(data)) == {"schedule"}


def test_exact_sigmas_and_a_second_pass_are_read():
    data = api("ltx-2-19b-distilled-lora-384.safetensors", shift=None)
    inputs = {"model": ["2", 0], "cfg": 1.0, "sampler": ["6", 0], "sigmas": ["5", 0]}
    data["4"] = {"class_type": "SamplerCustom", "inputs": inputs}
    data["5"] = {"class_type": "ManualSigmas", "inputs": {"sigmas": "0.909375, 0.725, 0.421875, 0.0"}}
    data["6"] = {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "euler"}}
    assert changes(data) == {}
    data["5"]["inputs"]["sigmas"] = "0.85, 0.725, 0.42, 0"
    assert set(changes(data)) == {"schedule"}
    data["5"] = {
        "class_type": "BasicScheduler",
        "inputs": {"scheduler": "linear_quadratic", "steps": 8, "denoise": 1.0},
    }
    assert changes(data) == {}  # the same eight sigmas by another name


def two_experts(sigmas: dict, **settings) -> dict:
    """Wan 2.2: a LoRA and a shift on each expert, one FewStep Two-Model Sampler over a list of sigmas."""
    name = "wan2.2_i2v_lightx2v_4steps_lora_v1_{}_noise.safetensors"
    data = {}
    for part in ("high", "low"):
        one = api(name.format(part), shift=5.0)
        links = {"2": {"model": [f"{part}1", 0]}, "3": {"model": [f"{part}2", 0]}}
        for key in "123":
            data[f"{part}{key}"] = {**one[key], "inputs": {**one[key]["inputs"], **links.get(key, {})}}
    inputs = {"high_model": ["high3", 0], "low_model": ["low3", 0], "sampler": ["6", 0], "sigmas": ["5", 0]}
    own = {"cfg": "1", "boundary": 0.9, "first_step": "as the others", "first_cfg": 3.5, **settings}
    data["4"] = {"class_type": "FewStepTwoModelSampler", "inputs": {**inputs, **own}}
    data["5"] = sigmas
    data["6"] = {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "euler"}}
    return data


EVEN_STEPS = {"class_type": "BasicScheduler", "inputs": {"scheduler": "simple", "steps": 4, "denoise": 1.0}}
WRITTEN = {"class_type": "ManualSigmas", "inputs": {"sigmas": "1, 0.9375, 0.8333, 0.625, 0"}}


@pytest.mark.parametrize("sigmas", [EVEN_STEPS, WRITTEN], ids=["schedule", "written"])
@pytest.mark.parametrize(
    "settings, wanted",
    [
        ({}, set()),
        ({"cfg": "3.5, 1, 1, 1"}, set()),  # the guided first step is what it is for
        ({"cfg": "3.5, 3.5, 1, 1"}, {("high", "cfg")}),
        ({"cfg": "3.5"}, {("high", "cfg"), ("low", "cfg")}),
        ({"cfg": "1, 1, 1, 4"}, {("low", "cfg")}),
        ({"first_step": "with first_cfg, without LoRA"}, set()),
    ],
)
def test_the_two_model_sampler_is_read_as_its_two_models(sigmas, settings, wanted):
    found = check.check(from_data(two_experts(sigmas, **settings)))
    assert {("high" if "high_noise" in one.file else "low", one.field) for one in found} == wanted
    (high, low) = runs.runs(from_data(two_experts(sigmas, **settings)))
    assert high.part == (0, 2) and low.part == (2, 4)


def test_sigmas_at_the_wrong_shift_are_found_for_both_models_and_two_lists_are_joined():
    wrong = {"class_type": "ManualSigmas", "inputs": {"sigmas": "1, 0.96, 0.8889, 0.7273, 0"}}
    assert {one.field for one in check.check(from_data(two_experts(wrong)))} == {"schedule"}
    data = two_experts({"class_type": "SplitSigmas", "inputs": {"sigmas": ["8", 0], "step": 2}}, sigmas_low=["5", 1])
    data["8"] = WRITTEN
    assert check.check(from_data(data)) == []
    assert [run.part for run in runs.runs(from_data(data))] == [(0, 2), (2, 4)]


def test_a_first_model_of_its_own_is_a_sampling_of_its_own():
    data = two_experts(WRITTEN, first_step="with first_cfg, without LoRA", first_model=["high3", 0])
    (finding,) = check.check(from_data(data))
    assert (finding.field, finding.found, finding.wanted) == ("cfg", "3.5", "1") and "first_model" in finding.node


@pytest.mark.parametrize("cfg, wanted", [("3, 1, 1, 1", {}), ("3, 2, 1, 1", {"cfg": "1"}), ("4", {"cfg": "1"})])
def test_the_cfg_schedule_is_judged_by_the_steps_after_the_first(cfg, wanted):
    data = api()
    data["4"] = {"class_type": "SamplerCustomAdvanced", "inputs": {"guider": ["7", 0], "sigmas": ["5", 0]}}
    scheduler = {"model": ["3", 0], "scheduler": "simple", "steps": 4, "denoise": 1.0}
    data["5"] = {"class_type": "BasicScheduler", "inputs": scheduler}
    data["7"] = {"class_type": "FewStepCFGSchedule", "inputs": {"model": ["3", 0], "cfg": cfg}}
    assert changes(data) == wanted


def page() -> dict:
    """On the page: a subgraph with a switched LoRA, steps promoted to its node, a bypassed LoRA and a Reroute."""

    def node(key: int, kind: str, values: list, outputs: str = "MODEL", mode: int = 0, **links: int) -> dict:
        entries = [{"name": name, "type": "MODEL", "link": link} for name, link in links.items()]
        more = {"inputs": entries, "outputs": [{"type": outputs}], "mode": mode}
        return {"id": key, "type": kind, "widgets_values": values, **more}

    def link(key: int, start: tuple[int, int], end: tuple[int, int]) -> dict:
        names = ("id", "origin_id", "origin_slot", "target_id", "target_slot")
        return dict(zip(names, (key, *start, *end)))

    inside = [
        node(1, "UNETLoader", ["base.safetensors", "default"]),
        node(2, "LoraLoaderModelOnly", [LORA, 1.0], model=1),
        node(3, "ComfySwitchNode", [False], on_false=2, on_true=3),
        node(4, "LoraLoaderModelOnly", ["hyper-sd15-8steps-lora.safetensors", 1.0], mode=4, model=4),
        node(5, "Reroute", [], model=5),
        node(6, "KSampler", [1, "fixed", 20, 1.0, "euler", "simple", 1.0], "LATENT", model=6, steps=7),
    ]
    links = [link(1, (1, 0), (2, 0)), link(2, (1, 0), (3, 0)), link(3, (2, 0), (3, 1)), link(4, (3, 0), (4, 0))]
    links += [link(5, (4, 0), (5, 0)), link(6, (5, 0), (6, 0)), link(7, (-10, 0), (6, 1)), link(8, (6, 0), (-20, 0))]
    subgraph = {"id": "sub", "nodes": inside, "links": links, "inputs": [{"name": "steps", "type": "INT"}]}
    shown = {"id": 9, "type": "sub", "inputs": [], "outputs": [], "widgets_values": [4]}
    return {"nodes": [shown], "links": [], "definitions": {"subgraphs": [subgraph]}}


def test_the_page_with_subgraphs_switches_and_bypassed_nodes():
    graph = from_data(page())
    first, second = runs.runs(graph)
    assert [file.name for file in first.files] == ["base.safetensors"] and not first.switched
    assert [file.name for file in second.files] == [LORA, "base.safetensors"] and second.steps == 4
    assert second.switched == ("ComfySwitchNode on",) and second.node == "KSampler 9:6"
    (switched, idle) = report.lines(graph)
    assert "With ComfySwitchNode on: fits" in switched and "no sampling uses it" in idle


def test_a_part_that_is_bypassed_whole_is_read_as_if_it_were_on():
    data = page()
    sampler = data["definitions"]["subgraphs"][0]["nodes"][5]
    sampler["mode"] = 4
    (run,) = runs.runs(from_data(data))
    assert run.switched == (runs.BYPASSED_PART,)


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_our_own_workflows_fit_in_both_formats(file):
    twin = twin_of(file)
    for one in (file, *([twin] if twin else [])):
        assert not check.check(read(one.read_text(encoding="utf-8"))), one


@pytest.mark.parametrize(
    "text, said",
    [
        ("{", "is no JSON"),
        ("[]", "is no workflow"),
        ('{"a": 1}', "is no workflow"),
        ('{"nodes": [{"id": 1}], "links": []}', "is a damaged workflow"),
        ('{"nodes": [{"id": 1, "type": "x"}], "links": [[1]]}', "is a damaged workflow"),
    ],
)
def test_what_is_no_workflow_gets_a_sentence(text, said):
    with pytest.raises(ValueError, match=said):
        read(text)


def test_a_workflow_that_runs_in_a_circle_ends():
    data = {
        "1": {"class_type": "Reroute", "inputs": {"": ["2", 0]}},
        "2": {"class_type": "ComfySwitchNode", "inputs": {"on_true": ["1", 0], "switch": True}},
        "3": {"class_type": "LoraLoaderModelOnly", "inputs": {"model": ["3", 0], "lora_name": LORA}},
        "4": {"class_type": "KSampler", "inputs": {"model": ["3", 0], "steps": ["1", 0], "cfg": ["2", 0]}},
    }
    graph = from_data(data)
    assert graph and isinstance(check.check(graph), list)


@pytest.mark.parametrize(
    "expression, found",
    [
        ("a * 2 + b", 11),
        ("max(a, b) if a < b else 0", 0),
        ("round(a / 2)", 2),
        ("a ** 9", None),
        ("__import__('os')", None),
        ("a.b", None),
        ("1 / 0", None),
        ("(", None),
    ],
)
def test_small_arithmetic_is_done_and_anything_else_is_not(expression, found):
    numbers = {"values.a": 4, "values.b": 3, "expression": expression}
    graph = {"1": Node("1", "ComfyMathExpression", values=numbers)}
    assert values.output_of(graph, ("1", 0), {}) == found


def test_the_command_says_it_by_its_exit_code(tmp_path, capsys):
    for steps, code in ((4, 0), (20, 1)):
        file = tmp_path / f"{steps}.json"
        file.write_text(json.dumps(api(steps=steps)))
        assert cli.main(["check", str(file)]) == code
    assert "steps 20 -> 4" in capsys.readouterr().out
    assert cli.main(["check", str(tmp_path / "none.json")]) == 1
    assert "none.json" in capsys.readouterr().err
