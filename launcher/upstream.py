"""An existing ComfyUI, or today's: cloned into `.comfyui/` with an environment of its own. Standard library only."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from .folders import ROOT
from .install import HOST, announce, fill, installed, size, venv_python
from .pip import InstallError

LATEST = "latest"
URL = "https://github.com/comfyanonymous/ComfyUI"
HOME = ROOT / ".comfyui"
ALSO = ("requests", "psutil", "tqdm")  # what ComfyUI or the launcher imports and not every release asks for

TORCH = re.compile(r"torch(vision)?[<>=]")


def checkout(comfyui: str, home: Path = HOME) -> Path:
    """Return the folder `--comfyui` means."""
    return home / "ComfyUI" if comfyui == LATEST else Path(comfyui).expanduser().resolve()


def prepare_latest(url: str = URL, home: Path = HOME) -> Path:
    """Clone ComfyUI and install what it and the pack need, unless that is done; return its Python."""
    folder, environment = checkout(LATEST, home), home / "venv"
    if not folder.exists():
        clone(url, folder)
    files = write_requirements(folder, home)
    if not installed(environment, files):
        announce(environment, *size())
        fill(environment, files)
    return venv_python(environment)


def write_requirements(folder: Path, home: Path) -> list[Path]:
    """Write down what ComfyUI, the pack and the launcher ask for, in files whose names the stamp tells apart.

    ComfyUI takes the newest PyTorch, which may be too new for the other packages it names (torchaudio refuses to load
    beside a PyTorch of another CUDA), so PyTorch keeps the bounds of the embedded host.
    """
    bounds = [line for line in (ROOT / HOST[0]).read_text(encoding="utf-8").splitlines() if TORCH.match(line)]
    texts = {
        "comfyui.txt": (folder / "requirements.txt").read_text(encoding="utf-8"),
        "pack.txt": (ROOT / HOST[1]).read_text(encoding="utf-8"),
        "launcher.txt": "\n".join([*ALSO, *bounds]),
    }
    for name, text in texts.items():
        (home / name).write_text(text, encoding="utf-8")
    return [home / name for name in texts]


def clone(url: str, folder: Path) -> None:
    """Clone the newest commit; a clone that was cut off leaves nothing behind under the final name."""
    git = shutil.which("git")
    if git is None:
        raise InstallError("--comfyui latest needs git. Install it from git-scm.com, or give --comfyui DIR.")
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.parent.mkdir(parents=True, exist_ok=True)
    print(f"Cloning {url} into {folder} (about 0.1 GB). To renew it later, delete that folder.", flush=True)
    if subprocess.run([git, "clone", "--depth", "1", url, str(part)]).returncode:
        raise InstallError(f"git could not clone {url}; its message is above. Another address: --comfyui-url URL.")
    if not all((part / name).is_file() for name in ("main.py", "requirements.txt")):
        raise InstallError(
            f"{url} is no ComfyUI: it has no main.py or no requirements.txt. Give another --comfyui-url."
        )
    os.replace(part, folder)


def find_python(folder: Path) -> Path:
    """Find the Python of an existing ComfyUI: an environment beside it, or the portable build's."""
    if not (folder / "main.py").is_file():
        raise InstallError(f"{folder} is no ComfyUI folder: it has no main.py. Give --comfyui the folder that has it.")
    places = [venv_python(base / name) for base in (folder, folder.parent) for name in ("venv", ".venv")]
    places.append(folder.parent / "python_embeded" / "python.exe")  # spelt so in the portable build
    found = next((place for place in places if place.exists()), None)
    if found is None:
        raise InstallError(f"No Python was found beside {folder}. Give --python the one that starts this ComfyUI.")
    return found
