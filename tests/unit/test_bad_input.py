"""Files and texts that anybody may have made: the kinds that once hung, ate memory or ended in a raw error."""

import json
import os
import struct

import pytest
import torch
from fewstep.training.prompts import PromptFile, typed_prompts
from fewstep.training.state import RunFolder
from fewstep.weights import families, peft_alpha, plain_json, stream

SAMPLING = {"family": "x", "sampler": "lcm", "schedule": "lcm", "steps": [1, 4], "best_steps": 4, "cfg_range": [1, 1]}
LORA = {"unet.a.to_k.lora_A.weight": torch.ones(4, 8), "unet.a.to_k.lora_B.weight": torch.ones(8, 4)}
DEEP = ("[" * 5000, '{"a":' * 5000, "[" * 60 + "]" * 60)


@pytest.mark.parametrize("text", DEEP, ids=["lists", "objects", "whole"])
def test_json_nested_without_end(text):
    with pytest.raises(ValueError, match="nested too deeply"):
        plain_json.parse(text)
    with pytest.raises(ValueError, match="metadata is damaged"):
        families.from_metadata({families.METADATA_KEY: text})
    with pytest.raises(ValueError, match="lora_adapter_metadata is damaged"):
        peft_alpha.read({peft_alpha.KEY: text})


@pytest.mark.parametrize(
    "field, value",
    [
        ("sigmas", {"2": [1.0, 0.5, -0.1]}),
        ("sigmas", {"2": [float("inf"), 0.5, 0.0]}),
        ("sigmas", {"2": [float("nan"), 0.5, 0.0]}),
        ("sigmas", {"2": [0.5, 1.0, 0.0]}),
        ("timesteps", {"2": [499, 999]}),
        ("timesteps", {"2": [1000, 499]}),
        ("timesteps", {"two": [999, 499]}),
        ("second", [0.0, 1.0]),
        ("samplers", "lcm"),
        ("strengths", [1.0, 0.5]),
        ("shift", float("nan")),
        ("timesteps", [999]),
        ("steps", [4, 1]),
        ("steps", "1-4"),
        ("cfg", float("inf")),
        ("cfg", "high"),
        ("eta", -2),
        ("family", None),
        ("family", "x" * 5000),
        ("steps", [True, 4]),
    ],
)
def test_settings_that_no_sampler_should_see(field, value):
    text = json.dumps({"sampling": {**SAMPLING, field: value}})
    with pytest.raises(ValueError, match=f"metadata is damaged \\(its {field} is"):
        families.from_metadata({families.METADATA_KEY: text})
    assert families.from_metadata({families.METADATA_KEY: json.dumps({"sampling": SAMPLING})})


def test_what_the_tables_of_families_hold_can_be_written_and_read():
    from fewstep.weights.families.settings import as_dict

    for row in families.ROWS:
        for count in row.counts or (1, 4):
            made = row.make(count)
            text = json.dumps({"sampling": as_dict(made)})
            assert families.from_metadata({families.METADATA_KEY: text}) == made


@pytest.mark.parametrize(
    "config, message",
    [
        ({"lora_alpha": [1]}, "says alpha"),
        ({"lora_alpha": True}, "says alpha"),
        ({"lora_alpha": 10**400}, "says alpha"),
        ({"lora_alpha": 1, "alpha_pattern": [1]}, "alpha_pattern that is a list"),
        ({"lora_alpha": 1, "alpha_pattern": "a"}, "alpha_pattern that is a str"),
        ({"lora_alpha": 1, "alpha_pattern": {"to_k": "4"}}, "says alpha '4'"),
        ({str(n): n for n in range(2000)}, "at most 1000 entries"),
    ],
)
def test_pefts_alphas_of_other_kinds(config, message):
    with pytest.raises(ValueError, match=message):
        peft_alpha.with_alphas(LORA, {peft_alpha.KEY: json.dumps(config)})


def test_many_patterns_are_not_tried_on_every_module():
    modules = {f"unet.block{n}.to_k.lora_A.weight": torch.ones(1, 1) for n in range(5000)}
    config = {"lora_alpha": 1, "alpha_pattern": {f"block{n}.to_k": 2 for n in range(5000)}}
    found = peft_alpha.with_alphas(modules, {peft_alpha.KEY: json.dumps(config)})
    assert all(float(found[f"unet.block{n}.to_k.alpha"]) == 2 for n in (0, 4999))


def header(entries: dict) -> bytes:
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize(
    "entries",
    [{f"k{n}": {} for n in range(100_000)}, {"k." * 1000: {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}}],
    ids=["100,000 keys", "a key of 2,000 letters"],
)
def test_more_and_longer_keys_than_any_file_has(entries, tmp_path):
    (tmp_path / "a.safetensors").write_bytes(header(entries) + bytes(4))
    with pytest.raises(ValueError, match="tensors, or names of more than 400 letters"):
        stream.read_header(tmp_path / "a.safetensors")


def test_a_sentence_does_not_quote_the_whole_header(tmp_path):
    entry = {"dtype": "F32", "shape": [-1] * 2000, "data_offsets": [0, 4]}
    (tmp_path / "a.safetensors").write_bytes(header({"a": entry}) + bytes(4))
    with pytest.raises(ValueError, match="a claims shape") as caught:
        stream.read_header(tmp_path / "a.safetensors")
    assert len(str(caught.value)) < 400


def test_what_is_no_ordinary_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.safetensors")
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "folder.txt").mkdir()
    (tmp_path / "gone.txt").symlink_to(tmp_path / "nothing")
    with pytest.raises(ValueError, match="is no file"):
        stream.read_header(tmp_path / "pipe.safetensors")
    for name in ("pipe.txt", "folder.txt", "gone.txt"):
        with pytest.raises(ValueError, match=f"{name} is no file, or a link to nothing"):
            PromptFile(tmp_path / name)
    (tmp_path / "config.json").symlink_to(tmp_path / "pipe.txt")
    assert RunFolder(tmp_path).read_config() is None


@pytest.mark.parametrize("ending", [".txt", ".csv"])
def test_a_line_without_end_is_refused_before_it_is_read(ending, tmp_path):
    path = tmp_path / f"long{ending}"
    path.write_bytes(b"prompt\n" + b"x" * 3_000_000)
    with pytest.raises(ValueError, match="a line of more than 1,000,000 bytes"):
        PromptFile(path)


def test_the_line_that_is_no_text_is_named_however_far_down(tmp_path):
    (tmp_path / "p.txt").write_bytes(b"a prompt\n" * 50_000 + b"caf\xe9\n")
    with pytest.raises(ValueError, match="not UTF-8 text .line 50001: "):
        PromptFile(tmp_path / "p.txt")


def test_half_a_letter_is_no_prompt():
    assert typed_prompts(" a \n\n b", "text") == ("a", "b")
    with pytest.raises(ValueError, match="text: prompt 2 has half of a letter"):
        typed_prompts("a\n\ud800", "text")


def test_reading_blocks_gives_what_reading_lines_does(tmp_path):
    """Places, blank lines, carriage returns, a byte order mark, and lines that lie across two blocks."""
    lines = ["\ufeffone", "", "  two  ", "三" * 30_000, "\r", "four\r", "x" * 70_000, "five"]
    (tmp_path / "p.txt").write_bytes("\n".join(lines).encode())
    found = PromptFile(tmp_path / "p.txt")
    wanted = [line.removeprefix("\ufeff").strip() for line in lines if line.strip("\ufeff\r ")]
    assert list(found) == wanted == [found[n] for n in range(len(found))]
