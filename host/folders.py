"""Where files are: the host's named folders, extended by the pack's own `assets/`."""

import os
from contextlib import suppress
from pathlib import Path

try:
    import folder_paths
except ImportError:  # the PyPI host, when it is used in-process
    from comfy.cmd import folder_paths

from ..training.prompts import ENDINGS
from . import names as user_names
from .names import inside  # noqa: F401 (callers look for it here)

ASSETS = Path(__file__).resolve().parent.parent / "assets"
PROMPTS = ASSETS / "prompts"
ALLOWED = "FEWSTEP_ALLOWED_FOLDERS"  # folders besides the input folder, separated as in PATH


def register_assets() -> None:
    """Show the folders of `assets/` in the stock loaders' lists, with nothing copied."""
    for kind in ("checkpoints", "loras", "controlnet"):
        path = str(ASSETS / kind)
        if path not in folder_paths.get_folder_paths(kind):
            folder_paths.add_model_folder_path(kind, path)


def names(kind: str) -> list[str]:
    """The files of a model folder, as the stock loaders list them."""
    return folder_paths.get_filename_list(kind)


def full_path(kind: str, name: str) -> str | None:
    """The path of a listed file; None when it is not there or would leave its folder."""
    if name not in names(kind):
        return None
    return folder_paths.get_full_path(kind, name)


def input_folder() -> Path:
    return Path(folder_paths.get_input_directory())


def input_files(*endings: str) -> list[str]:
    """Files of the input folder and the folders in it, by their names from there."""
    root = input_folder()
    found = (path for path in root.rglob("*") if path.suffix.lower() in endings and path.is_file())
    return sorted(path.relative_to(root).as_posix() for path in found)


def output_folder() -> Path:
    return Path(folder_paths.get_output_directory())


def lora_folder() -> Path:
    """Where new LoRAs go: the user's own loras folder, so that the lists show them at once."""
    return own_folder("loras")


def network_kind() -> str:
    """What this host calls the folder of networks without text encoder and VAE, which UNETLoader lists."""
    return "diffusion_models" if "diffusion_models" in folder_paths.folder_names_and_paths else "unet"


def network_folder() -> Path:
    """Where new whole networks go."""
    return own_folder(network_kind())


def own_folder(kind: str) -> Path:
    """The user's first folder of a kind: never the pack's assets, and `unet` only where hosts know no newer name."""
    for path in map(Path, folder_paths.get_folder_paths(kind)):
        if ASSETS not in path.parents and (kind, path.name) != ("diffusion_models", "unet"):
            return path
    return ASSETS / kind


def reward_folder() -> Path:
    """Where reward networks lie: `fewstep_rewards` in the host's models folder."""
    return Path(folder_paths.models_dir) / "fewstep_rewards"


def prompt_files() -> dict[str, Path]:
    """Prompt lists (.txt) and tables (.csv, .tsv): the input folder's and the pack's own."""
    found = (path for folder in (PROMPTS, input_folder()) if folder.is_dir() for path in files_of(folder))
    return {path.name: path for path in found if path.suffix.lower() in ENDINGS}


def roots() -> list[Path]:
    """Where a workflow may read the user's data: the input folder, and the folders that the user has allowed once."""
    allowed = os.environ.get(ALLOWED, "").split(os.pathsep)
    return [input_folder().resolve(), *(Path(one.strip()).resolve() for one in allowed if one.strip())]


def readable(name: str, what: str) -> Path:
    """A file or folder of the user's data, by its name in the input folder or its whole path in an allowed one."""
    for root in roots():
        with suppress(user_names.Outside):
            path = user_names.inside(root, name, what)
            if path.exists() or root == roots()[0]:
                return path
    linked = (input_folder() / name).resolve()  # a link out of the input folder, into an allowed one
    if any(linked.is_relative_to(root) for root in roots()[1:]):
        return linked
    raise ValueError(
        f"{what} {user_names.shown(name)} leads out of the host's input folder. Put it there, or start the host with "
        f"the environment variable {ALLOWED} naming its folder."
    )


def files_of(folder: Path) -> list[Path]:
    """Its ordinary files by name. Links are followed only inside the folders of `roots`; pipes and devices are none."""
    try:
        with os.scandir(folder) as entries:
            found = [Path(one.path) for one in entries if one.is_file(follow_symlinks=False) or one.is_symlink()]
    except OSError as error:
        raise ValueError(f"the folder {folder.name} cannot be looked through ({error.strerror}).") from error
    return sorted(path for path in found if is_readable(path))


def is_readable(path: Path) -> bool:
    """Whether it is an ordinary file, or a link to one inside the folders of `roots`."""
    if not path.is_symlink():
        return path.is_file()
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):  # dangling, or in a circle
        return False
    return target.is_file() and any(target.is_relative_to(root) for root in (*roots(), PROMPTS))
