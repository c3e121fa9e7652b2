"""What is written about the pack agrees with it: help pages, translations, links, tables. Needs no host."""

import json
import re
from pathlib import Path

import pytest
from fewstep.launcher import install
from fewstep.weights import families

ROOT = Path(__file__).resolve().parents[2]
LANGUAGES = ("en", "zh")
READMES = [ROOT / "README.md", ROOT / "README.zh-CN.md"]
PAGES = sorted((ROOT / "web" / "docs").glob("*/*.md"))
DOCS = [*READMES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *PAGES]
LINKED = [*DOCS, *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "benchmarks").rglob("*.md"))]
MACHINE_PATHS = re.compile(r"(?<![\w.])/(home|Users|root|opt|tmp|work)/|[A-Z]:\\Users")


def read(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def name(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


NODES = json.loads(read(ROOT / "tests" / "helpers" / "nodes.json"))  # written by tools/node_list.py


def inputs(node: str) -> list[str]:
    return [*NODES[node].get("required", {}), *NODES[node].get("optional", {})]


ZH = json.loads(read(ROOT / "locales" / "zh" / "nodeDefs.json"))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("node", NODES)
def test_every_node_has_a_short_help_page_that_names_every_input(node, language):
    text = read(ROOT / "web" / "docs" / node / f"{language}.md")
    missing = [input_name for input_name in inputs(node) if f"`{input_name}`" not in text]
    assert not missing
    assert len(text.splitlines()) < 70


def test_no_help_page_is_left_of_a_node_that_is_gone():
    assert {page.parent.name for page in PAGES} == set(NODES) == set(ZH)


@pytest.mark.parametrize("node", NODES)
def test_every_input_and_output_is_translated(node):
    entry, outputs = ZH[node], NODES[node]["outputs"]
    assert entry["display_name"] and entry["description"]
    assert list(entry["inputs"]) == inputs(node)
    assert list(entry["outputs"]) == [str(i) for i in range(len(outputs))]
    for part in (*entry["inputs"].values(), *entry["outputs"].values()):
        assert part["name"] and part["tooltip"]


def test_our_own_socket_types_are_translated():
    main = json.loads(read(ROOT / "locales" / "zh" / "main.json"))
    files = sorted((ROOT / "nodes").glob("*.py"))
    types = {found for file in files for found in re.findall(r'"(FEWSTEP_\w+)"', read(file))}
    assert types == set(main["dataTypes"])


@pytest.mark.parametrize("file", LINKED, ids=name)
def test_every_relative_link_and_picture_exists(file):
    targets = re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", read(file))
    relative = [first or second for first, second in targets if "://" not in first + second]
    missing = [target for target in relative if not (file.parent / target.partition("#")[0]).exists()]
    assert not missing


@pytest.mark.parametrize("file", DOCS, ids=name)
def test_files_that_are_named_in_code_marks_exist(file):
    """`workflows/x.json`, `benchmarks/y.md` and the like; names with placeholders in capitals or <> are examples."""
    named = re.findall(r"`((?:workflows|benchmarks|assets|tests|weights|locales)/[\w./-]+\.\w+)`", read(file))
    assert not [path for path in named if "NAME" not in path and not (ROOT / path).exists()]


@pytest.mark.parametrize("file", LINKED, ids=name)
def test_no_path_of_some_machine_is_written_down(file):
    assert not MACHINE_PATHS.search(read(file))


@pytest.mark.parametrize("file", READMES, ids=name)
def test_the_readmes_show_the_commands_and_each_other(file):
    text = read(file)
    other = next(readme for readme in READMES if readme != file)
    for piece in ("python run.py demo", "python run.py comfy", "python run.py test", "docs/demo.png"):
        assert piece in text
    assert other.name in "\n".join(text.splitlines()[:4])


def shape(file: Path) -> list:
    """What two translations share: levels of headings, code blocks without comments, links, columns of table rows."""
    text = read(file)
    code = [re.sub(r"\s*#.*", "", block) for block in re.findall(r"```\n(.*?)```", text, re.DOTALL)]
    links = re.findall(r"\]\(([^)\s]+)\)", text)[1:]  # the first leads to the other language
    headings = re.findall(r"^#+", text, re.MULTILINE)
    return [headings, code, links, [line.count("|") for line in text.splitlines() if line.startswith("|")]]


def test_both_readmes_have_the_same_shape():
    for english, chinese in zip(shape(READMES[0]), shape(READMES[1])):
        assert english == chinese


@pytest.mark.parametrize("file", READMES, ids=name)
@pytest.mark.parametrize("system, machine", [("linux", "x86_64"), ("darwin", "arm64")])
def test_the_readmes_say_what_an_installation_costs(file, system, machine, monkeypatch):
    monkeypatch.setattr(install.sys, "platform", system)
    monkeypatch.setattr(install.platform, "machine", lambda: machine)
    for figure in install.size():
        assert f"{figure:g} GB" in read(file)


def family_rows(file: Path) -> list[list[str]]:
    """The cells of the table of file families, without its head."""
    table = re.search(r"<!-- table: families -->\n(.*?)<!-- end -->", read(file), re.DOTALL)[1]
    return [[cell.strip() for cell in line.strip("|\n").split("|")] for line in table.splitlines()[2:]]


@pytest.mark.parametrize("file", READMES, ids=name)
def test_the_table_of_families_is_what_the_loader_does(file):
    seen = set()
    for example, sampler, schedule, steps, cfg, eta in family_rows(file):
        settings = families.from_name(re.search(r"`([^`]+)`", example)[1])
        fewest, most = settings.steps
        seen.add(settings.family)
        expected = "exact" if settings.sigmas else settings.schedule
        assert (sampler, schedule) == (settings.sampler, expected), example
        assert steps in ("N", str(most)) if fewest == most else steps.startswith(f"{fewest}-{most}"), example
        assert [float(n) for n in re.findall(r"[\d.]+", cfg)] in cfg_figures(settings), example
        assert eta == (f"{settings.eta:g}" if settings.sampler == "tcd" else "-"), example
    assert seen == set(families.NAMES) - {families.AUTO}


def cfg_figures(settings) -> list[list[float]]:
    """The ways to write cfg and its range: "1", "5, up to 8", "3, from 2 to 9"."""
    low, high = settings.cfg_range
    if low == high:
        return [[settings.cfg]]
    return [[settings.cfg, low, high], *([[settings.cfg, high]] if low == settings.cfg else [])]
