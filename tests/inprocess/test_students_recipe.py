"""The students' recipe: its table, its real pictures, and one stage that trains on them."""

import torch


def test_every_stage_starts_from_one_before_it_and_no_two_have_a_file_of_one_name():
    from fewstep.recipes.students.table import STAGES

    names, titles = list(STAGES), [stage.title for stage in STAGES.values() if stage.title]
    for number, (name, stage) in enumerate(STAGES.items()):
        assert not stage.start or names.index(stage.start) < number, name
    assert len(titles) == len(set(titles))


def test_a_stage_on_pictures_trains_on_their_latents(tiny, tmp_path, monkeypatch):
    from fewstep.host import folders
    from fewstep.recipes.students import __main__ as recipe
    from fewstep.recipes.students import pictures
    from fewstep.weights import io

    monkeypatch.setattr(pictures, "COUNT", 8)
    monkeypatch.setattr(folders, "output_folder", lambda: tmp_path / "output")
    monkeypatch.setattr(folders, "lora_folder", lambda: tmp_path / "loras")
    latents = torch.randn(8, 4, 12, 12, generator=torch.Generator().manual_seed(0))
    io.save({"latents": latents.half()}, tmp_path / "pictures.safetensors", {})
    file = recipe.train("flash", tmp_path, tiny, limit=2)
    tensors, metadata = io.load(file)
    assert any(tensor.abs().max() > 0 for name, tensor in tensors.items() if name.endswith("lora_up.weight"))
    assert '"made": "8 latents of the host"' in metadata["fewstep"]
    again = pictures.host_data(*tiny, tmp_path / "pictures.safetensors")
    assert torch.equal(torch.stack(again.latents), latents.half().float())
    assert len(again.conds) == 8
