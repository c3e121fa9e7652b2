"""Folders of pictures that anybody may have made: what hangs, leads out or eats memory is refused or passed over."""

import os
import struct
import zlib

import pytest
from PIL import Image

pytest.importorskip("comfy", reason="the embedded host is not installed here")


@pytest.fixture
def place(tmp_path, monkeypatch):
    from fewstep.host import folders

    source = tmp_path / "input"
    (source / "pictures").mkdir(parents=True)
    Image.new("RGB", (16, 16)).save(source / "pictures" / "good.png")
    monkeypatch.setattr(folders, "input_folder", lambda: source)
    monkeypatch.delenv(folders.ALLOWED, raising=False)
    return source / "pictures"


def build(name="pictures"):
    from fewstep.nodes.data import FewStepDataset

    return FewStepDataset().build(name, 64, 64, 4, 2, 2.0)[0].pictures


def look(source) -> None:
    from fewstep.host.data import images, masks

    for index, file in enumerate(source.files):
        images.picture_size(source, index)
        images.read_picture(source, index, 64, 64)
        masks.reader([file])(0, 64, 64)


def huge_png(side: int) -> bytes:
    """A header that claims side x side pixels, and no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    size = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_pipes_folders_and_links_that_lead_nowhere_or_out_are_no_pictures(place, tmp_path):
    os.mkfifo(place / "pipe.png")
    os.mkfifo(place / "good.txt")
    (place / "folder.jpg").mkdir()
    (place / "gone.png").symlink_to(tmp_path / "nothing")
    (place / "circle.png").symlink_to(place / "circle.png")
    (tmp_path / "secret.png").write_bytes((place / "good.png").read_bytes())
    (place / "out.png").symlink_to(tmp_path / "secret.png")
    (place / "within.png").symlink_to(place / "good.png")
    source = build()
    assert [file.name for file in source.files] == ["good.png", "within.png"]
    assert source.captions == ["good", "within"]


def test_a_link_out_is_followed_where_the_user_allowed_it_once(place, tmp_path, monkeypatch):
    from fewstep.host import folders

    other = tmp_path / "other disk"
    other.mkdir()
    Image.new("RGB", (8, 8)).save(other / "a.png")
    (place / "a.png").symlink_to(other / "a.png")
    (place.parent / "link").symlink_to(other)
    for name in ("link", str(other), "../other disk"):
        with pytest.raises(ValueError, match="leads out of the host's input folder.*FEWSTEP_ALLOWED_FOLDERS") as caught:
            build(name)
        assert name == str(other) or str(tmp_path) not in str(caught.value)
    monkeypatch.setenv(folders.ALLOWED, os.pathsep.join([str(tmp_path / "none"), str(other)]))
    assert len(build().files) == 2 and len(build(str(other)).files) == 1 and len(build("link").files) == 1


@pytest.mark.parametrize("side", [13_000, 100_000])
@pytest.mark.parametrize("name", ["a.png", "good.mask.png"])
def test_a_picture_of_too_many_pixels_is_refused_by_its_header(side, name, place):
    (place / name).write_bytes(huge_png(side))
    with pytest.raises(ValueError, match=f"{name} cannot be read as a picture .*(pixels|exceeds limit)"):
        look(build())


def test_only_the_offered_formats_are_decoded(place):
    """PostScript under a picture's name would start a program."""
    for name in ("a.png", "good.mask.png"):
        (place / name).write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
        with pytest.raises(ValueError, match=f"{name} cannot be read as a picture .it is no PNG, JPEG, WEBP or BMP"):
            look(build())
        (place / name).unlink()


def test_a_caption_as_large_as_a_disk_is_refused(place):
    with open(place / "good.txt", "wb") as file:
        file.truncate(5 << 30)
    with pytest.raises(ValueError, match="good.txt has 5,368,709,120 bytes, more than 1,000,000"):
        build()


def test_a_prompt_file_behind_a_link_out_is_not_offered(place, tmp_path):
    from fewstep.host import folders

    (tmp_path / "secret.txt").write_text("password")
    (place.parent / "link.txt").symlink_to(tmp_path / "secret.txt")
    (place.parent / "own.txt").write_text("a cup")
    assert "own.txt" in folders.prompt_files() and "link.txt" not in folders.prompt_files()


def test_a_lora_with_more_keys_than_any_file_has_is_refused_at_once(tmp_path, monkeypatch):
    import json

    from fewstep.host.loading import loras

    entries = json.dumps({f"k{n}": {} for n in range(100_000)}).encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(entries)) + entries)
    monkeypatch.setattr(loras, "path_of", lambda name, node: tmp_path / name)
    with pytest.raises(ValueError, match="FewStepLoadLora: .*100,000 tensors"):
        loras.read("a.safetensors", "FewStepLoadLora")


def test_a_report_of_a_run_whose_settings_and_steps_lack_what_ours_have():
    from fewstep.nodes import runs

    text = runs.described("x", {"steps": [1] * 999}, [{"step": 3, "critic_loss": 1.0}], [], ["a note"])
    assert "x: unknown, step 3 of [1, 1" in text and text.endswith("a note") and len(text) < 400
