"""Names of runs and files: what no system takes, or what looks like another name, is refused with a sentence."""

import pytest
from fewstep.host import names

REFUSED = {
    "": "is empty",
    " .. ": "is empty",
    "x/..": "has /, which no file may have",
    "../fewstep_runs/back": "has /",
    "../../output/fewstep_runs/back2": "has /",
    "/tmp/absolute": "has /",
    "C:\\runs": r"has : \\",
    "4 steps?": r"has \?",
    "two\nlines": r"cannot be seen \(U\+000A\)",
    "nul\0byte": r"U\+0000",
    "tab\there": r"U\+0009",
    "gnp.\u202egpj": r"U\+202E",
    "mark\u200f": r"U\+200F",
    "zero\u200bwidth": r"U\+200B",
    "byte order\ufeff mark": r"U\+FEFF",
    "line\u2028end": r"U\+2028",
    "half a pair \ud800": r"U\+D800",
    "con": "what Windows calls a device",
    "NUL.txt": "what Windows calls a device",
    "com1": "what Windows calls a device",
    "Lpt³.safetensors": "what Windows calls a device",
    "aux .x": "what Windows calls a device",
    "ends.": "ends with a dot",
    "x" * 300: "300 bytes long. At most 180 fit",
    "字" * 100: "300 bytes long",
}
TAKEN = ["my-lcm-lora", "LCM 4 steps (v2)", "学生", "été", "نیم\u200cفاصله", "\U0001f469\u200d\U0001f3a8"]
TAKEN += ["console", "nullify", "a.b", ".hidden"]


@pytest.mark.parametrize("name", REFUSED, ids=ascii)
def test_names_that_no_file_should_have(name):
    with pytest.raises(ValueError, match=f"^Run name .*{REFUSED[name]}") as caught:
        names.plain_name(name, "Run name")
    assert len(str(caught.value)) < 300 and str(caught.value).isprintable()
    assert not names.is_plain(name)


@pytest.mark.parametrize("name", TAKEN)
def test_names_of_any_language(name, tmp_path):
    assert names.plain_name(f" {name} ", "Run name") == name and names.is_plain(name)
    (tmp_path / name).mkdir()


WAYS_OUT = ["../x", "/etc/passwd", "a/../../b", "link/file", "circle/x"]


@pytest.mark.parametrize("name", WAYS_OUT)
def test_ways_out_of_a_folder(name, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    (root / "circle").symlink_to(root / "circle")
    sentence = "folder: .*leads out of the folder root|folder: .*cannot be looked up"
    with pytest.raises(ValueError, match=sentence) as caught:
        names.inside(root, name, "folder:")
    assert str(tmp_path) not in str(caught.value)
    assert names.inside(root, "a/b", "folder:") == root / "a" / "b"


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000, "half \ud800", "/".join(["x" * 300] * 3)], ids=ascii)
def test_names_that_the_system_cannot_look_up(name, tmp_path):
    with pytest.raises(ValueError, match="^folder: .*(is no name of a file|cannot be looked up)"):
        names.inside(tmp_path, name, "folder:")
