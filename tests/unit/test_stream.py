"""Files interpolated tensor by tensor: exact, small in memory, and nothing half-written."""

import hashlib
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fewstep.tests.helpers.streams import MEASURE, hashed, nothing
from fewstep.weights import io, stream, stream_models
from safetensors import safe_open
from safetensors.torch import load_file, save_file


def files(folder: Path, dtype_a=torch.float32, dtype_b=torch.float32, **extra) -> tuple[Path, Path]:
    generator = torch.Generator().manual_seed(0)
    for name, dtype in (("a", dtype_a), ("b", dtype_b)):
        tensors = {
            "one.weight": torch.randn(7, 5, generator=generator).to(dtype),
            "two.bias": torch.randn(11, generator=generator).to(dtype),
            "ids": torch.arange(4),
            "scale": torch.randn((), generator=generator).to(dtype),
        }
        save_file({**tensors, **(extra if name == "a" else {})}, folder / f"{name}.safetensors")
    return folder / "a.safetensors", folder / "b.safetensors"


def test_both_ways_of_writing_give_the_same_bytes(tmp_path):
    """`io.save` through the library and `stream.write` by hand: one header, also with letters beyond ASCII in it."""
    tensors = {"a": torch.arange(6.0).view(2, 3), "b": torch.arange(5.0), "c": torch.tensor(1.0)}
    metadata = {"author": "Zoë", "title": "少步 \n"}
    io.save(tensors, tmp_path / "saved.safetensors", metadata)
    rows = {name: ("F32", tuple(tensor.shape), tensor.nbytes) for name, tensor in tensors.items()}
    stream.write(tmp_path / "streamed.safetensors", rows, tensors.values(), [], lambda: metadata)
    assert (tmp_path / "streamed.safetensors").read_bytes() == (tmp_path / "saved.safetensors").read_bytes()


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0, 1.4, -0.2])
@pytest.mark.parametrize(
    "dtypes",
    [
        (torch.float32, torch.float32),
        (torch.float16, torch.float16),
        (torch.bfloat16, torch.bfloat16),
        (torch.float16, torch.bfloat16),
        (torch.float8_e4m3fn, torch.float8_e4m3fn),
        (torch.float16, torch.float8_e5m2),
    ],
    ids=str,
)
def test_every_tensor_is_the_interpolation(weight, dtypes, tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "CHUNK", 8)  # several chunks a tensor
    a, b = files(tmp_path, *dtypes)
    count = stream_models.interpolate(a, b, weight, tmp_path / "c.safetensors", hashed)
    made, one, two = (load_file(tmp_path / f"{n}.safetensors") for n in "cab")
    assert count == len(made) == 4 and torch.equal(made["ids"], one["ids"])
    for key in ("one.weight", "two.bias", "scale"):
        kind = torch.finfo(one[key].dtype)
        exact = weight * one[key].double() + (1 - weight) * two[key].double()
        rounding = kind.eps / 2 * exact.abs().clamp(min=kind.smallest_normal) * 1.001 + 2e-6  # half a step, and fp32's
        assert made[key].dtype == one[key].dtype
        assert ((made[key].double() - exact).abs() <= rounding).all()
    with safe_open(tmp_path / "c.safetensors", "pt") as file:
        assert file.metadata() == hashed(*(hashlib.sha256(path.read_bytes()).hexdigest() for path in (a, b)))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="measured through /proc")
def test_memory_does_not_grow_with_the_files(tmp_path):
    """Two files of 400 MB, one tensor of 200 MB among them, in less than 120 MB."""
    for name in "ab":
        tensors = {f"t{n}": torch.full((1024, 1024 * 5), float(n)) for n in range(10)}
        save_file({**tensors, "large": torch.ones(50, 1024, 1024)}, tmp_path / f"{name}.safetensors")
    code = MEASURE.format(root=str(Path(__file__).resolve().parents[2]))
    command = [sys.executable, "-c", code, str(tmp_path), "models"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 120 * 1024


def test_weights_of_one_file_alone_are_an_error_or_kept(tmp_path):
    a, b = files(tmp_path, extra=torch.ones(3))
    with pytest.raises(ValueError, match='1 weights are in only one of "a.safetensors".*such as extra.*keep_others'):
        stream_models.interpolate(a, b, 0.5, tmp_path / "c.safetensors", nothing)
    stream_models.interpolate(a, b, 0.5, tmp_path / "c.safetensors", nothing, keep=True)
    assert torch.equal(load_file(tmp_path / "c.safetensors")["extra"], torch.ones(3))


def other_shape(path):
    save_file({"one.weight": torch.ones(2)}, path)


def no_name(path):
    save_file({"else": torch.ones(2)}, path)


def spoilt(path):
    tensors = load_file(path)
    tensors["two.bias"][3] = float("nan")
    save_file(tensors, path)


def row(first, last, shape=(2,), dtype="F32") -> dict:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [first, last]}


def raw(header, data: bytes = bytes(8)) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


FAULTS = {
    "another shape": (other_shape, r"different architectures: one.weight is \[7, 5\] and \[2\]"),
    "another architecture": (no_name, "no name in common"),
    "cut short": (lambda path: path.write_bytes(path.read_bytes()[:-9]), "it is cut short"),
    "empty": (lambda path: path.write_bytes(b""), "cannot be read as a safetensors file"),
    "an absurd header": (lambda path: path.write_bytes(b"\xff" * 64), "its header claims"),
    "text": (lambda path: path.write_text("not a model at all, but long enough to have eight bytes"), "header claims"),
    "bytes of another shape": (
        lambda path: path.write_bytes(
            (90).to_bytes(8, "little")
            + b'{"one.weight":{"dtype":"F32","shape":[7,5],"data_offsets":[0,8]}}'.ljust(90)
            + b"\0" * 8
        ),
        r"one.weight has 8 bytes, not those of \[7, 5\] in F32",
    ),
    "NaN": (spoilt, "two.bias holds NaN or infinite numbers in one of the files"),
    "metadata that is none": (lambda path: path.write_bytes(raw({"__metadata__": [1]})), "its metadata is no table"),
    "negative offsets": (lambda path: path.write_bytes(raw({"a": row(-8, 0)})), "claims shape"),
    "fractions of a byte": (lambda path: path.write_bytes(raw({"a": row(0, 8.0)})), "claims shape"),
    "json without offsets": (lambda path: path.write_bytes((9).to_bytes(8, "little") + b'{"a": {}}'), "data|dtype"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_bad_files_get_a_sentence_and_nothing_is_left_behind(fault, tmp_path):
    a, b = files(tmp_path)
    spoil, message = FAULTS[fault]
    spoil(b)
    with pytest.raises(ValueError, match=message):
        stream_models.interpolate(a, b, 0.5, tmp_path / "c.safetensors", nothing)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.safetensors", "b.safetensors"]


def test_cancel_leaves_the_old_file_whole(tmp_path):
    a, b = files(tmp_path)
    (tmp_path / "c.safetensors").write_text("precious")

    def cancel(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stream_models.interpolate(a, b, 0.5, tmp_path / "c.safetensors", nothing, on_bytes=cancel)
    assert (tmp_path / "c.safetensors").read_text() == "precious" and not list(tmp_path.glob("*.tmp"))


def test_the_target_may_be_a_parent(tmp_path, replaced_when_closed):
    a, b = files(tmp_path)
    one, two = load_file(a), load_file(b)
    stream_models.interpolate(a, b, 0.25, a, nothing)
    assert torch.allclose(load_file(a)["one.weight"], 0.25 * one["one.weight"] + 0.75 * two["one.weight"])


def random_header(dice: random.Random) -> bytes:
    """A safetensors file with something wrong in it, now and then nothing."""
    values = [0, 1, -1, 2**63, 8, 1.5, None, "8", [], {}, True]
    entry = row(*sorted(dice.choices(range(12), k=2)), dice.choices(range(4), k=dice.randrange(3)))
    entry |= {dice.choice([*entry, "more"]): dice.choice([*values, [dice.choice(values), dice.choice(values)]])}
    header = {dice.choice(["a", "__metadata__", ""]): dice.choice([entry, entry, entry, *values])}
    whole = bytearray(raw(header if dice.random() < 0.9 else dice.choice(values)))
    for _ in range(dice.randrange(3)):
        whole[dice.randrange(len(whole))] = dice.randrange(256)
    return bytes(whole[: dice.randrange(len(whole) + 1)] if dice.random() < 0.3 else whole)


def test_any_header_is_read_or_refused_in_words(tmp_path):
    """600 damaged files: a ValueError, or entries that lie inside the file."""
    dice, path, read = random.Random(0), tmp_path / "x.safetensors", 0
    for _ in range(600):
        path.write_bytes(random_header(dice))
        try:
            header = stream.read_header(path)
        except ValueError as error:
            assert "cannot be read as a safetensors file" in str(error)
            continue
        read += 1
        assert all(0 <= e.start <= e.end <= path.stat().st_size for e in header.entries.values())
    assert 0 < read < 600
