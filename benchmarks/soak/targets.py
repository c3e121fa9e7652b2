"""What a stranger's file or text reaches: each target makes one bad input, and gives it to the real loader or node.

A target is (rng, folders) -> None; it ends, or raises. `Places` are the host's folders of this process.
"""

import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from fewstep.benchmarks.soak import mutate
from PIL import Image
from safetensors.torch import save

MODULE = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
PEFT = {"unet.r": 4, "unet.lora_alpha": 2, "unet.use_rslora": False, "unet.alpha_pattern": {"attn2.to_k": 4}}
SAMPLING = {"family": "x", "sampler": "lcm", "schedule": "lcm", "steps": [1, 4], "best_steps": 4, "cfg_range": [1, 1]}
SAMPLING |= {"cfg": 1.0, "eta": 0.0, "timesteps": {"2": [999, 499]}, "note": "", "strength": 1.0}
RECORD = {"step": 1, "loss": 0.5, "student_gradient": 1.0, "seconds": 0.1, "left_s": 3.0}
CONFIG = {"method": "LCM", "steps": 10, "batch_size": 2, "accumulate": 1, "rank": 4, "seed": 0}


@dataclass(frozen=True)
class Places:
    """model: the tiny base; loras, input, output: folders of the host."""

    model: object
    loras: Path
    input: Path
    output: Path


def fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def lora_bytes(metadata: dict[str, str] | None = None) -> bytes:
    side = {"lora_A": torch.full((4, 64), 0.01), "lora_B": torch.full((64, 4), 0.01)}
    return save({f"unet.{MODULE}.{name}.weight": tensor for name, tensor in side.items()}, metadata)


def bad_header(rng, data: bytes) -> bytes:
    """The header of a safetensors file changed as JSON, its length set right."""
    length = int.from_bytes(data[:8], "little")
    header = mutate.bad_json(rng, json.loads(data[8 : 8 + length])).encode("utf-8", "surrogatepass")
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


def load_lora(rng, places: Places, data: bytes) -> None:
    from fewstep.nodes import load, merge

    (places.loras / "bad.safetensors").write_bytes(data)
    node = rng.randint(0, 3)
    if node == 0:
        merge.FewStepInterpolateLoras().merge("bad.safetensors", "bad.safetensors", 0.5, 0)
    elif node == 1:
        merge.FewStepInterpolateLoraFiles().merge("bad.safetensors", "bad.safetensors", 0.5, "out", "fp32", True)
    else:
        family = "auto" if node == 2 else "LCM-LoRA"
        load.FewStepLoadLora().load(places.model, "bad.safetensors", 1.0, rng.randint(1, 8), 1.0, family=family)


def lora_file(rng, places: Places) -> None:
    load_lora(rng, places, mutate.bad_bytes(rng, lora_bytes()))


def lora_header(rng, places: Places) -> None:
    load_lora(rng, places, bad_header(rng, lora_bytes({"a": "b"})))


def lora_metadata(rng, places: Places) -> None:
    ours = mutate.bad_json(rng, {"sampling": SAMPLING, "recipe": {}})
    load_lora(rng, places, lora_bytes({rng.choice(("fewstep", "fewstep.merge")): ours}))


def peft_metadata(rng, places: Places) -> None:
    load_lora(rng, places, lora_bytes({"lora_adapter_metadata": mutate.bad_json(rng, PEFT)}))


def run_folder(rng, places: Places) -> None:
    from fewstep.nodes import runs
    from fewstep.training.state import RunFolder

    folder = RunFolder(fresh(places.output / "fewstep_runs" / "bad"))
    for step in (1, 2):
        folder.save(step, {"a": torch.ones(4)}, 2)
    folder.save_best(1, 0.5, {"a": torch.ones(4)})
    record = mutate.bad_json(rng, RECORD) if rng.randint(0, 1) else json.dumps(RECORD)
    lines = "\n".join([json.dumps(RECORD), record, json.dumps({**RECORD, "step": 2})])
    (folder.path / "metrics.jsonl").write_bytes(lines.encode("utf-8", "surrogatepass") + b"\n")
    (folder.path / "config.json").write_text(mutate.bad_json(rng, CONFIG) if rng.randint(0, 1) else json.dumps(CONFIG))
    (folder.path / "notes.txt").write_text("once\n")
    file = rng.choice(sorted(folder.path.iterdir()))
    file.write_bytes(mutate.bad_bytes(rng, file.read_bytes()))
    shutil.copy(file, file.with_name(f"{file.stem} (copy){file.suffix}"))
    folder.load_best()
    folder.load()
    runs.run_names()
    runs.FewStepRuns().look("bad")


def prompts(rng, places: Places) -> None:
    from fewstep.nodes import data

    ending = rng.choice((".txt", ".csv", ".tsv"))
    sign = "\t" if ending == ".tsv" else ","
    rows = [f"prompt{sign}id", f"a red apple{sign}1", f'"a ""blue"" robot, flat"{sign}2', f"\ufeffa cup{sign}3", ""]
    place = places.input / f"bad{ending}"
    odd_place(rng, place, mutate.bad_bytes(rng, "\n".join(rows).encode()))
    try:
        found, count = data.FewStepPrompts().build(mutate.text(rng), place.name, rng.choice(("", "", mutate.text(rng))))
        assert len(list(found)) == count and all(found[i] for i in range(min(count, 5)))
    finally:
        place.unlink(missing_ok=True) if not place.is_dir() or place.is_symlink() else shutil.rmtree(place)


def odd_place(rng, path: Path, data: bytes) -> None:
    """The file; now and then a folder, a pipe, a dangling link or a link out of the folder in its place."""
    kind = rng.randint(0, 79)
    if kind == 0:
        path.mkdir()
    elif kind == 1:
        os.mkfifo(path)
    elif kind in (2, 3):
        path.symlink_to(path.parent / "gone" if kind == 2 else "/etc/hostname")
    else:
        path.write_bytes(data)


def picture(rng, kind: str) -> bytes:
    buffer = io.BytesIO()
    mode = rng.choice(("RGB", "L", "P", "RGBA", "1") if kind == "png" else ("RGB",))
    size = rng.choice(((16, 16), (16, 16), (1, 40), (40, 8)))
    Image.new(mode, size).save(buffer, {"jpg": "jpeg"}.get(kind, kind))
    return buffer.getvalue()


def mask() -> bytes:
    """One thing, on a picture of 16 x 16 pixels."""
    buffer, grey = io.BytesIO(), Image.new("L", (16, 16))
    grey.putpixel((3, 3), 1)
    grey.save(buffer, "png")
    return buffer.getvalue()


def pictures(rng, places: Places) -> None:
    from fewstep.host.data import images, masks
    from fewstep.nodes import data

    folder = fresh(places.input / "pictures")
    (folder / "good.png").write_bytes(picture(rng, "png"))
    for name in ("a.png", "b.jpg", "c.webp", "d.bmp", "a.txt", "a.mask.png", "a.mask.txt"):
        kind = name.rpartition(".")[2]
        whole = {"a.txt": b"a caption", "a.mask.txt": b"robot", "a.mask.png": mask()}.get(name) or picture(rng, kind)
        odd_place(rng, folder / name, mutate.bad_bytes(rng, whole) if rng.randint(0, 5) == 0 else whole)
    spec = data.FewStepDataset().build("pictures", 64, 64, 4, 2, 2.0, buckets=rng.choice((0, 8, 64)))[0]
    fits = images.fits_of(spec.pictures, images.bucket_sizes(64, 64, spec.buckets))
    read_mask = masks.reader(spec.pictures.files)
    for index in range(len(fits)):
        images.read_picture(spec.pictures, index, *fits[index, 4:].tolist())
        read_mask(index, 64, 64)


def shards(rng, places: Places) -> None:
    from fewstep.host.data import images
    from fewstep.nodes import data

    folder, buffer = fresh(places.input / "shards"), io.BytesIO()
    kind = rng.choice((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT))
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as tar:
        for name in ("a", "é" if kind == tarfile.PAX_FORMAT else "b", "c" * 90):
            caption = mutate.bad_json(rng, {"caption": "a cup"}).encode("utf-8", "surrogatepass")
            ending = rng.choice(("json", "txt"))
            for part, content in ((ending, caption), ("png", picture(rng, "png"))):
                info = tarfile.TarInfo(f"{name}.{part}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    whole = buffer.getvalue()
    odd_place(rng, folder / "s.tar", whole if rng.randint(0, 1) else mutate.bad_bytes(rng, whole))
    spec = data.FewStepDataset().build("shards", 64, 64, 4, 2, 2.0)[0]
    for index, _ in enumerate(spec.pictures.captions):
        images.read_picture(spec.pictures, index, 64, 64)


def widgets(rng, places: Places) -> None:
    """Texts and numbers that the web page would not send, but the API takes."""
    from fewstep.host import names
    from fewstep.nodes import data, merge, runs, schedule

    typed = mutate.text(rng)
    calls: list[Callable] = [
        lambda: names.plain_name(typed, "FewStepDistill: run_name"),
        lambda: runs.FewStepRuns().look(typed),
        lambda: data.FewStepDataset().build(typed, 64, 64, 4, 2, 2.0, prompts=("a",)),
        lambda: data.FewStepPrompts().build(typed, "none"),
        lambda: data.FewStepPrompts().build("a", typed),
        lambda: merge.parsed(mutate.bad_json(rng, {"sampling": SAMPLING})),
        lambda: merge.parsed(typed),
        lambda: merge.FewStepCombineLoras().merge(typed, typed, 1.0, 1.0, 0),
        lambda: schedule.FewStepSchedule().build(places.model, "explicit", 4, 1.0, 50, typed),
        lambda: schedule.FewStepSchedule().build(places.model, "explicit", 4, 1.0, 50, "999, 499" + typed),
        lambda: merge.FewStepSaveLora().save(
            {"x.lora_up.weight": torch.ones(2, 2), "x.lora_down.weight": torch.ones(2, 2)}, typed, "fp32", True, typed
        ),
    ]
    rng.choice(calls)()


TARGETS = {
    one.__name__: one
    for one in (lora_file, lora_header, lora_metadata, peft_metadata, run_folder, prompts, pictures, shards, widgets)
}
