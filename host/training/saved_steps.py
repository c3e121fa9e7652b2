"""A saved step of a run as a LoRA of its own, without the run's model: while it trains elsewhere, or after a cancel."""

import json
from pathlib import Path

from torch import Tensor

from ...training.checks import require
from ...training.state import RunFolder, read_state
from ...weights import families, io, keys, plain_json, stream
from .. import folders, names
from . import export, layers, patches
from .job import Job

CARD = "student.json"  # in the run folder: what a LoRA's file needs besides the weights
NEWEST, BEST, ALL = "newest", "best", "all"
MOST = 16  # files at once


def note(job: Job) -> None:
    """Leave in the run folder what makes a state's weights a file."""
    alone = job.config.lora_over == patches.PATCHED or not job.model.patches
    card = {"role": job.kept_role, "lora": job.trains_lora, "alone": alone, "metadata": export.metadata(job)}
    if job.trains_lora:
        card |= {"names": layers.lora_names(job.model), "alpha": job.training("student").alpha}
    io.write_text(job.folder.path / CARD, json.dumps(card, sort_keys=True))


def write(folder: RunFolder, wanted: str) -> list[str]:
    """Write the wanted steps as LoRAs; the names that the loaders list them by, in the steps' order.

    Raises ValueError with what to do where a step or the run cannot be written.
    """
    card, steps = card_of(folder), chosen(folder, wanted)
    return [write_one(folder, card, step) for step in steps]


def card_of(folder: RunFolder) -> dict:
    run, file = folder.path.name, folder.path / CARD
    require(
        file.is_file(),
        f"{run!r} has no {CARD}: it was trained before steps could be exported, or holds no run. Queue it once with "
        "FewStep Distill under the same name, which writes it.",
    )
    try:
        card = plain_json.parse(file.read_bytes())
        made = {"role": str(card["role"]), "metadata": dict(card["metadata"]), "alone": bool(card["alone"])}
        lora = bool(card["lora"])
        made |= {"names": dict(card["names"]), "alpha": float(card["alpha"])} if lora else {}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{CARD} of the run {run!r} cannot be read ({error}). Queue the run once more.") from error
    require(lora, f"{run!r} trains a whole network. Its steps are no LoRAs: lower steps to what is done and queue it.")
    require(
        made["alone"],
        f"{run!r} has lora_over on a plain base: its file also holds the wired model's LoRAs, which are not in the "
        "run folder. Lower steps to what is done and queue it.",
    )
    return made


def chosen(folder: RunFolder, wanted: str) -> list[int | str]:
    """ "20, 40", "newest", "all" or "best" as steps. Raises ValueError for those that are not saved."""
    saved, run = folder.steps(), folder.path.name
    words = list(dict.fromkeys(wanted.replace(",", " ").split()))
    known = f"Saved are {', '.join(map(str, saved)) or 'none'}; {NEWEST}, {ALL} and {BEST} are words for some."
    require(bool(words), f"steps is empty. {known}")
    found: list[int | str] = []
    for word in words:
        require(word != BEST or (folder.path / "best.safetensors").is_file(), f"{run!r} keeps no best step. {known}")
        require(word not in (NEWEST, ALL) or bool(saved), f"{run!r} has saved no step yet.")
        some = {NEWEST: saved[-1:], ALL: saved, BEST: [BEST]}.get(word)
        require(some is not None or (word.isdecimal() and int(word) in saved), f"{run!r} has no step {word!r}. {known}")
        found += [int(word)] if some is None else some
    found = list(dict.fromkeys(found))
    require(len(found) <= MOST, f"{len(found)} steps are over {MOST} files at once. Name some of them: {known}")
    return found


def write_one(folder: RunFolder, card: dict, step: int | str) -> str:
    weights = weights_of(folder, card["role"], step)
    try:
        tensors = keys.export_lora(weights, card["names"], card["alpha"])
    except KeyError as error:
        raise ValueError(f"step {step} of {folder.path.name!r} holds a layer that {CARD} does not: {error}.") from error
    title = f"{folder.path.name}-step-{step}"
    listed = str(Path("fewstep") / f"{title}.safetensors")
    path = names.inside(folders.lora_folder(), listed, "run")
    require(
        not path.exists() or title_of(path) == title,
        f'"{listed}" exists already and is not of this run. It is kept: move that file away.',
    )
    io.save(tensors, path, metadata(card, title, step))
    return listed


def weights_of(folder: RunFolder, role: str, step: int | str) -> dict[str, Tensor]:
    """The kept role's own weights in a state, or the best ones."""
    if step == BEST:
        return folder.load_best()[0]
    start = f"role.{role}."
    state = read_state(folder.path / f"state-{step}.safetensors")
    return {name.removeprefix(start): tensor for name, tensor in state.items() if name.startswith(start)}


def metadata(card: dict, title: str, step: int | str) -> dict[str, str]:
    """As the run's own file has it, and which step this is."""
    recipe = plain_json.parse(card["metadata"][families.METADATA_KEY])
    saved = {families.METADATA_KEY: json.dumps({**recipe, "step": step}), "modelspec.title": title}
    return {**card["metadata"], **saved}


def title_of(path: Path) -> str:
    try:
        return stream.read_header(path).metadata.get("modelspec.title", "")
    except ValueError:
        return ""
