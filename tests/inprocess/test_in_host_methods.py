"""Every method inside the embedded host, in this process: it trains, changes nothing on the wire, and loads again."""

from types import SimpleNamespace

import pytest
import torch
from fewstep.tests.helpers.in_process import bits, short_lora
from fewstep.tests.helpers.lora_runs import METHODS, run
from fewstep.training.state import RunFolder


@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains_and_leaves_the_wire_alone(name, tiny, tmp_path):
    from fewstep.weights import families

    before = bits(tiny[0])
    result, job = run(tiny, tmp_path, METHODS[name]())
    assert all(torch.equal(tensor, before[key]) for key, tensor in bits(tiny[0]).items())
    assert any(t.abs().sum() > 0 for key, t in result.tensors.items() if key.endswith("lora_up.weight"))
    assert len(result.metrics) == 3 and all(torch.isfinite(t).all() for t in result.tensors.values())
    from fewstep.host.training import export

    settings = families.from_metadata(export.metadata(job))
    assert settings.sampler == job.method.sampler
    if name == "DMD":
        assert settings.timesteps == {"2": [999, 499]} and settings.steps == (2, 2)


def test_methods_on_prompts_alone_draw_no_picture(tiny, tmp_path):
    run(tiny, tmp_path, METHODS["SwiftBrush"]())
    assert not list(tmp_path.rglob("latents-*"))


@pytest.mark.parametrize("name", ["TSCD", "DMD"])
def test_a_resumed_run_equals_an_unbroken_one(name, tiny, tmp_path):
    """Critic, discriminator, previous student and the phase itself come back with the state."""
    whole, _ = run(tiny, tmp_path / "whole", METHODS[name](), steps=4)
    run(tiny, tmp_path / "cut", METHODS[name](), steps=2)
    again, _ = run(tiny, tmp_path / "cut", METHODS[name](), steps=4)
    assert all(torch.equal(tensor, again.tensors[key]) for key, tensor in whole.tensors.items())


def test_checkpointing_recomputes_the_hosts_layers(tiny, tmp_path, monkeypatch):
    """The host calls the layers of a block, not the block: wrapping blocks would recompute nothing."""
    from comfy.ldm.modules.diffusionmodules.openaimodel import ResBlock

    forward, calls = ResBlock.forward, []

    def counted(self, *args, **kwargs):
        calls.append(self)
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(ResBlock, "forward", counted)
    run(tiny, tmp_path / "plain", METHODS["SwiftBrush"](), steps=1)
    plain = len(calls)
    run(tiny, tmp_path / "recomputed", METHODS["SwiftBrush"](), steps=1, gradient_checkpointing=True)
    assert len(calls) - plain > plain


def test_the_best_weights_are_kept_and_come_back(tiny, tmp_path):
    """A learning rate that ruins the student: its first save is the best, and that is what is written."""
    options = {"save_every": 1, "keep": "best", "learning_rate": 0.05, "ema_decay": 0.0}
    ruined, _ = run(tiny, tmp_path, METHODS["ImagineFlash"](), steps=3, **options)
    best, step, error = RunFolder(tmp_path / "output" / "fewstep_runs" / "run").load_best()
    assert step < 3 and error < float("inf")
    first, _ = run(tiny, tmp_path / "first", METHODS["ImagineFlash"](), steps=step, **options)
    assert all(torch.equal(tensor, ruined.tensors[key]) for key, tensor in first.tensors.items())


def modules(result) -> set[str]:
    return {key.split(".")[0].removeprefix("lora_unet_") for key in result.tensors}


@pytest.mark.parametrize(
    "layers, parts",
    [
        ("to_q, to_v", ("to_q", "to_v")),
        ("attention", ("attn1", "attn2")),
        ("feed-forward, attn2", ("_ff_", "attn2")),
        ("convolutions", ("resnets", "downsamplers", "upsamplers")),
    ],
)
def test_only_the_chosen_layers_get_a_lora(layers, parts, tiny):
    from fewstep.host.training import layers as of_model

    names = of_model.lora_names(tiny[0])
    found = [names[name].replace(".", "_") for name in of_model.chosen(tiny[0], layers)]
    whole = [names[name].replace(".", "_") for name in of_model.lora_targets(tiny[0])]
    assert found == [name for name in whole if any(part in name for part in parts)] and len(found) < len(whole)
    assert of_model.chosen(tiny[0], "all") == of_model.lora_targets(tiny[0])


@pytest.mark.parametrize("layers, message", [("to_x", 'names "to_x"'), (" , ", "layers is empty")])
def test_layers_that_do_not_exist_are_refused(layers, message, tiny, tmp_path):
    with pytest.raises(ValueError, match=message):
        run(tiny, tmp_path, METHODS["SwiftBrush"](), layers=layers)


def test_a_run_on_some_layers_is_named_and_can_be_started_from(tiny, tmp_path, monkeypatch):
    """In the recipe; another choice is refused; a LoRA on more layers is no start, one on these layers is."""
    import json

    from fewstep.host import folders
    from fewstep.host.training import export
    from fewstep.host.training import layers as chosen

    result, job = run(tiny, tmp_path, METHODS["ImagineFlash"](), steps=1, layers="to_q, to_v")
    assert len(modules(result)) == len(chosen.chosen(tiny[0], "to_q, to_v"))
    assert all(name.endswith(("to_q", "to_v")) for name in modules(result))
    assert json.loads(export.metadata(job)["fewstep"])["recipe"]["layers"] == "to_q, to_v"
    with pytest.raises(ValueError, match="layers \\('to_q, to_v' -> 'attention'\\)"):
        run(tiny, tmp_path, METHODS["ImagineFlash"](), steps=2, layers="attention")
    with pytest.raises(ValueError, match='also changes 87 layers outside of "to_q, to_v".*Set layers to all'):
        short_lora(tiny, tmp_path / "more", start="fewstep-tiny-sd-lcm-lora.safetensors", rank=32, layers="to_q, to_v")
    file = str(tmp_path / "loras" / result.name)
    monkeypatch.setattr(folders, "full_path", lambda kind, name: file)
    again = short_lora(tiny, tmp_path / "same", steps=1, start="mine", layers="to_q, to_v", learning_rate=1e-9)
    assert all(torch.allclose(again.tensors[key], tensor, atol=1e-6) for key, tensor in result.tensors.items())


@pytest.mark.parametrize(
    ("start", "timesteps", "told"),
    [
        ("fewstep-tiny-sd-dmd", (999,), "was made to be asked at 500 first, and this method asks at 999"),
        ("fewstep-tiny-sd-lcm-lora", (500,), "was made to be asked at 999 first, and this method asks at 500"),
        ("fewstep-tiny-sd-dmd", (500,), ""),
        ("fewstep-tiny-sd-dmd2-4-steps", (500, 300, 120, 39), ""),
        ("fewstep-tiny-sd-lcm-lora", (999, 749), ""),
        ("fewstep-tiny-sd-style-cyanotype", (500,), ""),
    ],
)
def test_a_start_that_was_made_for_another_timestep_is_told(start, timesteps, told, tiny):
    from fewstep.host.training import start_points

    job = SimpleNamespace(start=f"{start}.safetensors", timesteps=list(timesteps))
    assert (told in start_points.note(job)) if told else not start_points.note(job)


def test_the_notes_of_a_new_run_say_that_its_start_is_asked_elsewhere(tiny, tmp_path):
    options = {"start": "fewstep-tiny-sd-dmd.safetensors", "rank": 64, "alpha": 64.0}
    (note,) = short_lora(tiny, tmp_path, steps=1, **options).notes
    assert "fewstep-tiny-sd-dmd" in note and "begin at 500" in note
    assert not short_lora(tiny, tmp_path, steps=2, **options).notes  # once is enough
