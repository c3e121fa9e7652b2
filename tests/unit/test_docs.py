"""What is written about the pack agrees with it: help pages, translations, links, tables. Needs no host."""

import json
import re
from pathlib import Path

import pytest
from fewstep.launcher import install
from fewstep.tools import files_table
from fewstep.weights import families
from fewstep.weights.families import models

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


NODES = json.loads(read(ROOT / "tests" / "helpers" / "nodes.json"))  # python run.py tool node_list


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
    assert text.index("custom_nodes/fewstep") < text.index("python run.py comfy"), "installing comes first"


def test_the_readme_is_short():
    assert len(read(READMES[0]).split()) <= 1200
    assert len(re.findall(r"[\u4e00-\u9fff]", read(READMES[1]))) <= 2400  # about two signs a word


def test_the_changelog_of_a_first_release_mends_nothing():
    assert not re.search(r"fixed", read(ROOT / "CHANGELOG.md"), re.IGNORECASE)


def test_which_file_needs_what_is_current():
    """Otherwise: `python run.py tool files_table`."""
    assert files_table.PAGE.read_text(encoding="utf-8") == files_table.text()


@pytest.mark.parametrize("table, names", [(families, files_table.LORAS), (models, files_table.MODELS)])
def test_every_family_has_a_name_that_leads_to_it(table, names):
    assert set(names) == {row.family for row in table.ROWS}
    for family, name in names.items():
        numbered = files_table.numbered(name, 8).lower()
        first = next(row for row in table.ROWS if re.search(row.pattern, numbered))
        assert first.family == family, name


def test_there_is_one_table_of_parity():
    """One run, in one place; the READMEs lead to it."""
    tables = [file for file in LINKED if re.search(r"^\| (LCM|TCD).*e-0[67]", read(file), re.MULTILINE)]
    assert tables == [ROOT / "benchmarks" / "parity" / "README.md"]
    assert all("benchmarks/parity/README.md" in read(file) for file in READMES)


def test_numbers_of_the_readmes_stand_in_the_results():
    """Distances, rounded, from benchmarks/quality/results.md."""
    measured = [float(number) for number in re.findall(r"\d+\.\d+", read(ROOT / "benchmarks/quality/results.md"))]
    for file in READMES:
        rows = re.findall(r"^\| \d+ \|(.*)\|$", read(file), re.MULTILINE)
        assert len(rows) == 6
        for distance in re.findall(r"\d+\.\d(?!\d)", " ".join(rows)):
            assert any(abs(number - float(distance)) <= 0.0501 for number in measured), distance


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
