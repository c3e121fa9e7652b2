"""Folders and webdataset shards of pictures: read in place, fitted to buckets, refused in words when broken."""

import io
import json
import tarfile

import pytest
import torch
from PIL import Image

pytest.importorskip("comfy", reason="the embedded host is not installed here")

from fewstep.host.data import images  # noqa: E402 (after the host)
from fewstep.tests.helpers.image_files import picture, shard

SIZES = {"tall": (40, 120), "wide": (160, 60), "square": (100, 100), "tiny": (10, 10)}


def samples(**more) -> dict[str, bytes]:
    return {
        "a/001.png": picture((8, 8), "red"),
        "a/001.txt": "ein Füchslein \n".encode(),
        "a/001.cls": b"3",
        "a/002.json": b'{"url": "gone"}',
        "b.1.JPG": b"never looked at",
        "../evil.webp": picture((8, 8), "blue", "WEBP"),
        "../evil.json": json.dumps({"width": 3, "caption": "blue"}).encode(),
        **more,
    }


def test_shards_are_read_in_place_and_in_order(tmp_path):
    """Members of one name are a sample; a caption alone is passed over; nothing is written anywhere."""
    long = "x" * 150  # a name that takes a header of its own
    shard(tmp_path / "in" / "0.tar", samples(**{"link.png": None, "link.txt": b"no"}))
    shard(tmp_path / "in" / "1.tar", {f"{long}.png": picture((8, 8), "lime"), f"{long}.txt": b"lime"})
    before = sorted(tmp_path.rglob("*"))
    source = images.open_source(tmp_path / "in")
    assert list(source.captions) == ["ein Füchslein", "blue", "lime"]
    colours = [images.read_picture(source, i, 8, 8)[0, 0, 0].round().tolist() for i in (2, 0, 1)]
    assert colours == [[0, 1, 0], [1, 0, 0], [0, 0, 1]]
    assert source.name(0) == "a/001.png in 0.tar" and source.name(1) == "../evil.webp in 0.tar"
    assert sorted(tmp_path.rglob("*")) == before
    assert list(images.open_source(tmp_path / "in" / "1.tar").captions) == ["lime"]


def cut(path):
    path.write_bytes(path.read_bytes()[:700])


def gzipped(path):
    with tarfile.open(path, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("a.png"), io.BytesIO())


@pytest.mark.parametrize(
    "members, harm, message",
    [
        (samples(), cut, r"0\.tar is no whole, uncompressed tar file \(unexpected end of data\)"),
        (samples(), gzipped, r"0\.tar is no whole, uncompressed tar file"),
        (samples(), lambda path: path.write_bytes(b"nothing" * 100), r"0\.tar is no whole, uncompressed tar file"),
        ({"a.txt": b"words"}, None, r"0\.tar: no pictures"),
        ({"x/7.png": picture((8, 8))}, None, r"x/7 in 0\.tar has a picture but no caption. Add x/7.txt"),
    ],
)
def test_broken_shards_are_refused_with_their_name_and_a_remedy(tmp_path, members, harm, message):
    path = shard(tmp_path / "0.tar", members)
    if harm:
        harm(path)
    with pytest.raises(ValueError, match="FewStepDataset: .*" + message):
        images.open_source(tmp_path)


@pytest.mark.parametrize(
    "caption, message",
    [
        (
            ("7.json", b'{"label": "x", "id": 3}'),
            r"json of 7\.png in 0\.tar has no text under caption.*It has: label, id",
        ),
        (("7.json", b'["x"]'), "It has: no keys"),
        (("7.json", b"{"), r"caption of 7\.png in 0\.tar is not UTF-8 JSON"),
        (("7.txt", b"\xff\xfea\0"), r"caption of 7\.png in 0\.tar is not UTF-8 text"),
    ],
)
def test_captions_inside_a_shard_that_cannot_be_used(tmp_path, caption, message):
    source = images.open_source(shard(tmp_path / "0.tar", {"7.png": picture((8, 8)), caption[0]: caption[1]}))
    with pytest.raises(ValueError, match="FewStepDataset: .*" + message):
        source.captions[0]


def test_an_unreadable_picture_is_named_with_its_shard(tmp_path):
    source = images.open_source(shard(tmp_path / "0.tar", {"7.png": picture((8, 8))[:30], "7.txt": b"a"}))
    for look in (lambda: images.read_picture(source, 0, 8, 8), lambda: images.picture_size(source, 0)):
        with pytest.raises(ValueError, match=r"7\.png in 0\.tar cannot be read as a picture .*Remove or replace it"):
            look()


def test_folders_are_refused_in_words(tmp_path):
    with pytest.raises(ValueError, match="there is no folder"):
        images.open_source(tmp_path / "gone")
    (tmp_path / "a.txt").write_text("words")
    with pytest.raises(ValueError, match="holds no pictures .* but 1 captions without one"):
        images.open_source(tmp_path)
    (tmp_path / "a.png").write_bytes(picture((8, 8)))
    assert list(images.open_source(tmp_path).captions) == ["words"]
    shard(tmp_path / "0.tar", samples())
    with pytest.raises(ValueError, match="both pictures and .tar shards"):
        images.open_source(tmp_path)


@pytest.mark.parametrize("step", [8, 64])
def test_buckets_have_about_one_area_and_both_directions(step):
    found = images.bucket_sizes(1024, 1024, step)
    assert (1024, 1024) in found and {(h, w) for w, h in found} == set(found)
    for width, height in found:
        assert width % step == height % step == 0
        assert 1 - step / min(width, height) <= width * height / 1024**2 <= 1
        assert 0.24 <= width / height <= 4.2
    assert images.bucket_sizes(96, 64, 0) == [(96, 64)]


def test_a_picture_goes_to_the_bucket_of_its_shape_with_its_own_ids():
    found = images.bucket_sizes(96, 96, 8)
    width, height, crop_w, crop_h, *target = images.fit((300, 100), found)
    assert (width, height) == (300, 100) and target == [160, 56]
    assert (crop_w, crop_h) == (round((300 * 0.56 - 160) / 2), 0)
    assert images.fit((100, 300), found)[4:] == (56, 160)
    assert images.fit((50, 50), found) == (50, 50, 0, 0, 96, 96)
    assert images.fit((200, 100), [(96, 96)]) == (200, 100, 48, 0, 96, 96)


def test_a_picture_that_lies_on_its_side_is_measured_upright(tmp_path):
    exif = Image.Exif()
    exif[images.ORIENTATION] = 6
    Image.new("RGB", (60, 20)).save(tmp_path / "a.jpg", exif=exif)
    source = images.open_source(tmp_path)
    assert images.picture_size(source, 0) == (20, 60)
    assert torch.equal(images.fits_of(source, [(8, 24)]), torch.tensor([[20, 60, 0, 0, 8, 24]], dtype=torch.int32))
    assert images.read_picture(source, 0, 8, 24).shape == (1, 24, 8, 3)
