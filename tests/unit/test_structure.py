"""The architecture, enforced: who may import whom, how large a file and a function may grow, what is never used."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("nodes", "host", "samplers", "weights", "training", "launcher")
# Imports point downward only.
MAY_IMPORT = {
    "samplers": set(),
    "weights": set(),
    "training": {"samplers", "weights"},
    "host": {"samplers", "weights", "training"},
    "nodes": {"host", "samplers", "weights", "training"},
    "launcher": set(),
}
HOST_MODULES = {"comfy", "folder_paths", "latent_preview", "nodes", "server", "execution", "comfy_extras", "comfy_api"}
HOST_MODULES |= {"comfy_execution", "comfy_kitchen", "utils"}
THIRD_PARTY = {
    "samplers": {"torch"},
    "weights": {"torch", "safetensors"},
    "training": {"torch", "peft", "kornia", "bitsandbytes", "accelerate"},
}
STANDARD = set(sys.stdlib_module_names)
FILES = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]
TESTS = sorted((ROOT / "tests").rglob("*.py"))
HOST_OWNS = {"torch", "torchvision", "numpy", "transformers", "tokenizers", "PIL", "aiohttp"}
# A choice of the user asks for these, and a sentence names them where they lack.
OPTIONAL = {"accelerate", "bitsandbytes", "efficientnet_lite_pytorch", "onnx2torch", "ImageReward"}
CODE = [
    *FILES,
    *(file for room in ("benchmarks", "recipes", "tools") for file in sorted((ROOT / room).rglob("*.py"))),
    ROOT / "run.py",
    ROOT / "bootstrap.py",
    ROOT / "__init__.py",
]


def name(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def imports(file: Path):
    """(level, module, line) of every import of a file, those inside functions too."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = [alias.name for alias in node.names] if node.module is None else [node.module]
            yield from ((node.level, module, node.lineno) for module in names)


@pytest.mark.parametrize("file", FILES, ids=name)
def test_imports_point_downward(file):
    package = file.relative_to(ROOT).parts[0]
    depth = len(file.relative_to(ROOT).parts) - 1
    for level, module, line in imports(file):
        first = module.split(".")[0]
        if level == depth + 1:  # out of the package, to a sibling
            assert first in MAY_IMPORT[package], f"{name(file)}:{line} imports {first}"
        elif level == 0:
            assert first != "fewstep", f"{name(file)}:{line}: inside the pack imports are relative"
            assert package == "host" or package == "launcher" or first not in HOST_MODULES, (
                f"{name(file)}:{line}: {first}"
            )
            allowed = THIRD_PARTY.get(package)
            assert allowed is None or first in allowed | STANDARD, f"{name(file)}:{line} needs {first}"


@pytest.mark.parametrize("file", CODE, ids=name)
def test_files_and_functions_stay_small(file):
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 300, "two ideas share a room"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name != "INPUT_TYPES":
            assert node.end_lineno - node.lineno < 60, f"{node.name} is {node.end_lineno - node.lineno + 1} lines long"


@pytest.mark.parametrize("file", FILES, ids=name)
def test_no_code_from_files_no_shell_and_no_swallowed_exception(file):
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("eval", "exec", "compile", "__import__"), f"{name(file)}:{node.lineno}"
        if isinstance(node, ast.keyword) and node.arg == "shell":
            raise AssertionError(f"{name(file)}:{node.value.lineno} uses a shell")
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"{name(file)}:{node.lineno}: a bare except"
    assert not {"pickle", "dill", "marshal"} & {module for _, module, _ in imports(file)}


@pytest.mark.parametrize("package", ["samplers", "weights", "training"])
def test_the_mathematics_needs_no_host_and_no_heavy_import(package):
    """peft is loaded when a LoRA is made, not when the module is imported."""
    code = (
        "import sys, importlib, pkgutil; import bootstrap; bootstrap.register();"
        f"p = importlib.import_module('fewstep.{package}');"
        f"[importlib.import_module('fewstep.{package}.' + m.name) for m in pkgutil.iter_modules(p.__path__)];"
        "heavy = {'comfy', 'peft', 'transformers', 'accelerate', 'kornia', 'matplotlib'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_requirements_are_what_is_imported_and_pin_nothing():
    """No line without an import, no import without a line; lower bounds only; nothing that the host owns."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    wanted = dict(line.split(">=") for line in lines if line and not line.startswith("#"))
    assert all(re.fullmatch(r"[\d.]+", bound) for bound in wanted.values())
    shipped = [file for file in FILES if file.relative_to(ROOT).parts[0] != "launcher"]
    used = {module.split(".")[0] for file in shipped for level, module, _ in imports(file) if level == 0}
    assert used - STANDARD - HOST_MODULES - HOST_OWNS - OPTIONAL == set(wanted)


def test_no_test_imports_another():
    """What tests share lies in tests/helpers and in the conftests."""
    for file in TESTS:
        others = [module for _, module, _ in imports(file) if re.search(r"(^|\.)test_", module)]
        assert not others, f"{name(file)} imports {others}: move what it needs into tests/helpers"


@pytest.mark.parametrize("room", ["unit", "inprocess", "server"])
def test_the_tests_rooms_need_what_they_say(room):
    """unit: no host. inprocess: the host's modules in this process. server: a host of its own process."""
    for file in sorted((ROOT / "tests" / room).glob("test_*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        asking = [node for node in functions if node.name.startswith("test_") or node.decorator_list]
        asked = {arg.arg for node in asking for arg in node.args.args}
        starts = bool(asked & {"host", "client", "object_info"})
        hosts = {module.split(".")[0] for _, module, _ in imports(file)} & {"comfy", "comfy_extras", "folder_paths"}
        skips = re.search(r'importorskip\("comfy"', file.read_text(encoding="utf-8"))
        assert room != "unit" or not hosts and not skips, f"{name(file)} needs a host: it belongs into tests/inprocess"
        assert starts == (room == "server"), f"{name(file)}: what starts a host lies in tests/server, and nothing else"


def test_a_module_has_one_name():
    """`fewstep.launcher` and never `launcher` too: two copies of a class are two classes."""
    ours = {"launcher", "samplers", "weights", "training", "benchmarks", "recipes", "tools"}
    for file in (*CODE, *TESTS):
        twice = [module for level, module, _ in imports(file) if level == 0 and module.split(".")[0] in ours]
        assert not twice, f"{name(file)} imports {twice} as if the repository were on the path"
    code = f"import runpy, sys; sys.path.insert(0, {str(ROOT)!r}); runpy.run_path({str(ROOT / 'run.py')!r}); "
    code += "import importlib.util, fewstep.launcher.cli; sys.exit(importlib.util.find_spec('launcher') is not None)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT / "docs").returncode == 0


def test_committed_weights_are_small():
    for file in (ROOT / "assets").rglob("*.safetensors"):
        assert file.stat().st_size < 25 * 2**20, name(file)
