"""Files interpolated tensor by tensor: exact, small in memory, and nothing half-written."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fewstep.weights import stream
from safetensors import safe_open
from safetensors.torch import load_file, save_file

MEASURE = """
import sys
sys.path.insert(0, {root!r})
import bootstrap
bootstrap.register()
from pathlib import Path
from fewstep.weights import stream

def anonymous():
    return int(next(l for l in open("/proc/self/status") if l.startswith("RssAnon")).split()[1])

before, most = anonymous(), [0]
folder = Path(sys.argv[1])
stream.interpolate_files(folder / "a.safetensors", folder / "b.safetensors", 0.3, folder / "c.safetensors", {{}},
                         on_bytes=lambda *_: most.append(anonymous()))
print(max(most) - before)
"""


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


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0, 1.4, -0.2])
@pytest.mark.parametrize(
    "dtypes",
    [
        (torch.float32, torch.float32),
        (torch.float16, torch.bfloat16),
        (torch.float8_e4m3fn, torch.float8_e4m3fn),
        (torch.float16, torch.float8_e5m2),
    ],
    ids=str,
)
def test_every_tensor_is_the_interpolation(weight, dtypes, tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "CHUNK", 8)  # several chunks a tensor
    a, b = files(tmp_path, *dtypes)
    count = stream.interpolate_files(a, b, weight, tmp_path / "c.safetensors", {"made": "here"})
    made, one, two = (load_file(tmp_path / f"{n}.safetensors") for n in "cab")
    assert count == len(made) == 4 and torch.equal(made["ids"], one["ids"])
    for key in ("one.weight", "two.bias", "scale"):
        expected = (weight * one[key].float() + (1 - weight) * two[key].float()).to(one[key].dtype)
        assert made[key].dtype == one[key].dtype
        assert torch.allclose(made[key].float(), expected.float(), rtol=2e-3, atol=1e-6)
    with safe_open(tmp_path / "c.safetensors", "pt") as file:
        assert file.metadata() == {"made": "here"}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="measured through /proc")
def test_memory_does_not_grow_with_the_files(tmp_path):
    """Two files of 400 MB, one tensor of 200 MB among them, in less than 120 MB."""
    for name in "ab":
        tensors = {f"t{n}": torch.full((1024, 1024 * 5), float(n)) for n in range(10)}
        save_file({**tensors, "large": torch.ones(50, 1024, 1024)}, tmp_path / f"{name}.safetensors")
    code = MEASURE.format(root=str(Path(__file__).resolve().parent.parent))
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 120 * 1024


def test_weights_of_one_file_alone_are_an_error_or_kept(tmp_path):
    a, b = files(tmp_path, extra=torch.ones(3))
    with pytest.raises(ValueError, match='1 weights are in only one of "a.safetensors".*such as extra.*keep_others'):
        stream.interpolate_files(a, b, 0.5, tmp_path / "c.safetensors", {})
    stream.interpolate_files(a, b, 0.5, tmp_path / "c.safetensors", {}, keep=True)
    assert torch.equal(load_file(tmp_path / "c.safetensors")["extra"], torch.ones(3))


def other_shape(path):
    save_file({"one.weight": torch.ones(2)}, path)


def no_name(path):
    save_file({"else": torch.ones(2)}, path)


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
    "json without offsets": (lambda path: path.write_bytes((9).to_bytes(8, "little") + b'{"a": {}}'), "data|dtype"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_bad_files_get_a_sentence_and_nothing_is_left_behind(fault, tmp_path):
    a, b = files(tmp_path)
    spoil, message = FAULTS[fault]
    spoil(b)
    with pytest.raises(ValueError, match=message):
        stream.interpolate_files(a, b, 0.5, tmp_path / "c.safetensors", {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.safetensors", "b.safetensors"]


def test_cancel_leaves_the_old_file_whole(tmp_path):
    a, b = files(tmp_path)
    (tmp_path / "c.safetensors").write_text("precious")

    def cancel(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stream.interpolate_files(a, b, 0.5, tmp_path / "c.safetensors", {}, on_bytes=cancel)
    assert (tmp_path / "c.safetensors").read_text() == "precious" and not list(tmp_path.glob("*.tmp"))
