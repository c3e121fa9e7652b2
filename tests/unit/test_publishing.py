"""What a publisher touches: placeholders, the registry's fields, pictures, the workflows of the repository's host."""

import re
import shutil

import pytest
from fewstep.tools import artwork, publish
from PIL import Image, ImageChops

ROOT = publish.ROOT


@pytest.fixture
def copied(tmp_path):
    """The files with placeholders, elsewhere."""
    for name in publish.FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_one_command_puts_the_names_in_everywhere(copied):
    assert set(publish.put_in("jane-doe", "jane", copied)) == set(publish.left())
    assert publish.left(copied) == [] and publish.put_in("other", "other", copied) == []
    text = (copied / "pyproject.toml").read_text(encoding="utf-8")
    assert 'PublisherId = "jane"' in text and '"https://github.com/jane-doe/fewstep"' in text
    assert "https://github.com/jane-doe/fewstep custom_nodes" in (copied / "README.md").read_text(encoding="utf-8")


def test_no_file_with_a_placeholder_is_forgotten():
    """Every tracked text is looked at, not only those the tool knows. CONTRIBUTING explains the words."""
    places = [ROOT, ROOT / "docs", ROOT / "web", ROOT / "locales", ROOT / "workflows", ROOT / ".github"]
    files = {file for place in places for file in (place.glob("*") if place == ROOT else place.rglob("*"))}
    texts = [file for file in files if file.suffix in (".md", ".toml", ".yml", ".json", ".txt")]
    found = {file.relative_to(ROOT).as_posix() for file in texts if "OWNER/" in file.read_text(encoding="utf-8")}
    assert found <= set(publish.FILES)


@pytest.mark.parametrize("name", ["", "-a", "a--b", "a b", "a/b", "x" * 40])
def test_names_that_are_none_are_refused(copied, name):
    with pytest.raises(ValueError, match="expected a name"):
        publish.put_in(name, "fine", copied)
    assert publish.left(copied)


def test_the_registrys_fields_are_there():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = text.split("[tool.comfy]")[1].split("\n[")[0]
    for name in ("PublisherId", "DisplayName", "Icon", "Banner", "requires-comfyui", "includes"):
        assert re.search(rf"^{name} = (\".+\"|\[.+\])$", section, re.MULTILINE), name
    for folder in re.findall(r'"(\w+)"', re.search(r"includes = (\[.*\])", section)[1]):
        assert (ROOT / folder).is_dir()
    for picture in re.findall(r"/main/(docs/\w+\.png)", section):
        assert (ROOT / picture).is_file()


@pytest.mark.parametrize("name, size", [("icon", (400, 400)), ("banner", (1260, 540))])
def test_pictures_are_what_the_tool_draws(name, size):
    """Up to what another version of Pillow rounds otherwise."""
    kept, drawn = Image.open(artwork.DOCS / f"{name}.png").convert("RGB"), getattr(artwork, name)()
    assert kept.size == drawn.size == size and size[0] <= 1260
    difference = ImageChops.difference(kept, drawn).resize((50, 50), Image.Resampling.BOX)
    assert max(high for _, high in difference.getextrema()) < 48


def test_workflows_of_the_repositorys_host_are_readable_and_name_what_exists():
    yaml = pytest.importorskip("yaml", reason="PyYAML comes with the host")
    for file in sorted((ROOT / ".github").rglob("*.yml")):
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
        assert isinstance(found, dict), file.name
        for script in re.findall(r"python ([\w/]+\.py)", file.read_text(encoding="utf-8")):
            assert (ROOT / script).is_file(), script
