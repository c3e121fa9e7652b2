"""Where things lie: the repository, the host's working folder inside it, and the pack's link in custom_nodes."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "output"
WORKFLOWS = ROOT / "workflows" / "api"
PACK = "fewstep"  # the folder name under which the host loads the pack
KEPT_LOGS = 10
FOLDERS = (
    *("input", "output", "temp", "user", "logs", "huggingface", "custom_nodes"),
    *("models/checkpoints", "models/loras"),
)


def prepare_workdir(workdir: Path, pack: Path = ROOT) -> Path:
    """Make the folders a host expects and put the pack among its custom nodes."""
    for name in FOLDERS:
        (workdir / name).mkdir(parents=True, exist_ok=True)
    link_pack(workdir / "custom_nodes" / PACK, pack)
    return workdir


def link_pack(link: Path, pack: Path = ROOT) -> None:
    """Make `link` lead to the pack: a symbolic link, or on Windows a junction, which needs no privilege."""
    if os.path.lexists(link):
        if os.path.realpath(link) == os.path.realpath(pack):
            return
        remove_link(link)
    if os.name == "nt":
        import _winapi

        _winapi.CreateJunction(str(pack), str(link))
    else:
        link.symlink_to(pack, target_is_directory=True)


def remove_link(link: Path) -> None:
    """Remove a link that leads to another copy of the pack; a real folder is left alone."""
    if link.is_symlink():
        link.unlink()
        return
    try:
        os.rmdir(link)  # removes a junction or an empty folder, never a folder with files in it
    except OSError as error:
        raise FileExistsError(f"Launcher: {link} should be a link to {ROOT} but is a folder. Move it away.") from error


def new_log(workdir: Path, port: int) -> Path:
    """Name a fresh log file and drop the oldest ones."""
    logs = sorted((workdir / "logs").glob("host-*.log"), key=lambda path: path.stat().st_mtime)
    for old in logs[: max(0, len(logs) - KEPT_LOGS + 1)]:
        try:
            old.unlink(missing_ok=True)
        except PermissionError:  # Windows: another host still writes it
            continue
    return workdir / "logs" / f"host-{port}.log"


def write_model_paths(file: Path, models: Mapping[str, list[Path]]) -> Path:
    """Write the host's `--extra-model-paths-config` for {kind: folders}. JSON is YAML, and needs no quoting rules."""
    config = {"launcher": {kind: "\n".join(map(str, folders)) for kind, folders in models.items()}}
    file.write_text(json.dumps(config, indent=1), encoding="utf-8")
    return file


def checkout_models(checkout: Path) -> dict[str, list[Path]]:
    """List an existing ComfyUI's own model folders, so that its files stay visible in our working folder."""
    models = checkout / "models"
    folders = sorted(path for path in models.iterdir() if path.is_dir()) if models.is_dir() else []
    return {path.name: [path] for path in folders if path.name != "configs"}
