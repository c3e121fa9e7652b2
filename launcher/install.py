"""Make the environments the launcher runs in. Standard library only: this runs with bare Python."""

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from .folders import ROOT
from .pip import InstallError, install

HOST = ("requirements-host.txt", "requirements.txt")
TEST = (*HOST, "requirements-test.txt")
VERSIONS = ((3, 10), (3, 12))  # what the embedded host runs on
NO_DEPS = re.compile(r"^# no-deps: (\S+)", re.MULTILINE)
STAMP = "fewstep-installed.json"
OWN = ("aiohttp", "Pillow", "psutil", "tqdm")  # what the launcher itself imports; every ComfyUI brings them
LACKING = """
import sys
from importlib.metadata import PackageNotFoundError, version
for name in sys.argv[1:]:
    try:
        version(name)
    except PackageNotFoundError:
        print(name)
"""


def embedded(files: tuple[str, ...] = HOST) -> Path:
    """Return the Python of the embedded host's environment, installing what is missing.

    FEWSTEP_VENV names a ready environment to use as it is.
    """
    if ready := os.environ.get("FEWSTEP_VENV"):
        return venv_python(Path(ready))
    folder, paths = ROOT / ".venv", [ROOT / name for name in files]
    if not installed(folder, paths):
        check_version()
        announce(folder, *size())
        fill(folder, paths)
    return venv_python(folder)


def fill(folder: Path, files: list[Path]) -> None:
    """Make an environment and install requirement files into it; a second call goes on where the first was stopped."""
    make_venv(folder)
    python, log = venv_python(folder), folder / "pip.log"
    install(python, ["--quiet", "--upgrade", "pip>=24.3"], log)  # older ones tell no progress when piped
    wanted = [argument for file in files for argument in ("-r", str(file))]
    install(python, ["--progress-bar", "raw", *wanted], log)
    if alone := [name for file in files for name in NO_DEPS.findall(file.read_text(encoding="utf-8"))]:
        install(python, ["--no-deps", *alone], log)
    (folder / STAMP).write_text(json.dumps(stamp(files), indent=1), encoding="utf-8")
    print(f"Installed into {folder}.", flush=True)


def stamp(files: list[Path]) -> dict[str, str]:
    """Return the fingerprint of each requirement file."""
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def installed(folder: Path, files: list[Path]) -> bool:
    """Tell whether an environment holds what these files ask for, as they are now."""
    note = folder / STAMP
    if not note.is_file() or not venv_python(folder).exists():
        return False
    try:
        have = json.loads(note.read_text(encoding="utf-8"))
    except json.JSONDecodeError:  # cut off while it was written
        return False
    return stamp(files).items() <= have.items()


def make_venv(folder: Path) -> None:
    """Make a virtual environment, or leave a working one alone."""
    python = venv_python(folder)
    if python.exists() and subprocess.run([python, "-m", "pip", "--version"], capture_output=True).returncode == 0:
        return
    print(f"Making a virtual environment in {folder} ...", flush=True)
    try:
        venv.EnvBuilder(with_pip=True, clear=True, symlinks=os.name != "nt").create(folder)
    except (subprocess.CalledProcessError, ImportError) as error:
        raise InstallError(
            f"Python could not make a virtual environment in {folder} ({error}). "
            "On Debian and Ubuntu install the package python3-venv; then run this again."
        ) from error


def venv_python(folder: Path) -> Path:
    """Return the path of an environment's Python."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def check_version(version: tuple[int, int] = sys.version_info[:2]) -> None:
    """Refuse a Python on which the embedded host does not run, and name one that would do."""
    low, high = VERSIONS
    if low <= version <= high:
        return
    names = [f"python3.{minor}" for minor in range(high[1], low[1] - 1, -1)]
    found = next(filter(shutil.which, names), None)
    advice = f"This machine has one: start it as `{found} run.py ...`." if found else "Install 3.12 from python.org."
    raise InstallError(
        f"The embedded host needs Python 3.10, 3.11 or 3.12; this is {version[0]}.{version[1]}. {advice} "
        "Or use a ComfyUI you have: --comfyui DIR --python ITS_PYTHON."
    )


def size() -> tuple[float, float]:
    """Return (GB to download, GB on disk): PyTorch for Linux brings CUDA along, on other systems it does not."""
    return (3.0, 6.3) if sys.platform == "linux" and platform.machine() == "x86_64" else (0.6, 2.0)


def announce(folder: Path, download: float, disk: float) -> None:
    """Say what an installation costs before it starts, and refuse when the disk has no room for it."""
    if (folder / STAMP).is_file():
        print(f"The requirements have changed: bringing {folder} up to date.", flush=True)
        return
    print(f"Installing into {folder}: about {download:g} GB to download and {disk:g} GB on disk.", flush=True)
    free = shutil.disk_usage(folder.parent).free / 1e9
    if free < disk and not folder.exists():  # a folder that is there holds part of it already
        raise InstallError(f"{folder.parent} has {free:.1f} GB left, {disk:g} GB are needed. Free some space first.")


def check_packages(python: Path, files: tuple[str, ...]) -> None:
    """Refuse a Python of the user's own that lacks packages, with the command that installs them."""
    pack = [name for name in files if name != HOST[0]]
    names = [*OWN, *(name for file in pack for name in requirement_names(ROOT / file))]
    answer = subprocess.run([str(python), "-c", LACKING, *names], capture_output=True, text=True, errors="replace")
    if answer.returncode:
        raise InstallError(f"{python} does not run: {answer.stderr.strip()[-500:]}")
    if missing := answer.stdout.split():
        own = " ".join(name for name in missing if name in OWN)
        arguments = " ".join([*(f'-r "{ROOT / file}"' for file in pack), own])
        raise InstallError(
            f"{python} lacks {', '.join(missing)}. Install them, or name your ComfyUI's Python by --python:\n"
            f'  "{python}" -m pip install {arguments}'.rstrip()
        )


def requirement_names(file: Path) -> list[str]:
    """Return the package names in a requirement file."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return [re.split(r"[\s<>=!~;\[]", line, maxsplit=1)[0] for line in lines if line and not line.startswith("#")]
