"""`python run.py demo`: the same prompts sampled in several ways, drawn as one sheet and told as one table."""

import argparse
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from . import workflow
from .api import Client
from .bars import silent, step_bar
from .commands import running
from .folders import WORKFLOWS
from .sheet import Heading, contact_sheet
from .workflow import Workflow

BASE_GRAPH = WORKFLOWS / "base_text_to_image.json"
STUDENT_GRAPH = WORKFLOWS / "01_text_to_image_4_steps.json"
SAMPLERS = ("KSampler", "SamplerCustom")
TINY = "fewstep-tiny-sd.safetensors"
TINY_LORA = "fewstep-tiny-sd-lcm-lora.safetensors"
TINY_STUDENTS = (  # the best at each number of steps (benchmarks/quality), and the plain LCM-LoRA beside them
    ("DMD2", 1, "fewstep-tiny-sd-dmd.safetensors"),
    ("DMD", 2, "fewstep-tiny-sd-dmd-4-segments.safetensors"),
    ("DMD", 4, "fewstep-tiny-sd-dmd-4-segments.safetensors"),
    ("LCM-LoRA", 4, TINY_LORA),
)
TINY_PROMPTS = (
    "red apple, 3d style",
    "robot, flat style, on a blue background",
    "sunflower, 3d style",
    "penguin, flat style",
    "hamburger, 3d style, on a yellow background",
    "castle, flat style, on a pink background",
)
PROMPTS = (
    "portrait photo of an old fisherman with a grey beard, soft light",
    "a red fox sitting in fresh snow, forest behind it",
    "a bowl of ramen on a wooden table, steam, close up",
    "a small house on a cliff above the sea, oil painting",
    "a vintage motorcycle in front of a brick wall",
    "an astronaut riding a horse on the moon",
)


@dataclass(frozen=True)
class Column:
    """One way of sampling: what it is called, its steps, network passes a picture, and the sampler's values."""

    name: str
    steps: int
    passes: int
    values: dict = field(default_factory=dict)  # for the stock KSampler; none for the student
    lora: str = ""  # the student's file, as the host lists it

    @property
    def ours(self) -> bool:
        return bool(self.lora)

    def heading(self, seconds: float) -> Heading:
        """Return what stands above the column."""
        how = "lcm, cfg 1" if self.ours else "{sampler_name}, cfg {cfg:g}".format(**self.values)
        word = "pass" if self.passes == 1 else "passes"
        return Heading(self.name, f"{how}\n{self.passes} {word}, {seconds:.2f} s", self.ours)


@dataclass(frozen=True)
class Result:
    """A column's pictures, one a prompt, and the median seconds its sampler took for one."""

    column: Column
    pictures: list[Image.Image]
    seconds: float


@dataclass(frozen=True)
class Subject:
    """What is sampled: files (as the host lists them), prompts, pixels a side, guidance of the base.

    students: (method, steps, file) where several files are shown; none: the LoRA at 1, 2, 4 and 8 steps.
    """

    checkpoint: str
    lora: str
    prompts: tuple[str, ...]
    size: int
    cfg: float
    students: tuple[tuple[str, int, str], ...] = ()


def demo(args: argparse.Namespace) -> None:
    """Sample every column for every prompt on a warm host; write the sheet and print the table."""
    subject = read_subject(args)
    folders = {"checkpoints": args.checkpoint, "loras": args.lora}
    models = {kind: [Path(file).absolute().parent] for kind, file in folders.items() if file}
    with running(args, models=models) as server:
        client = server.client()
        results = sample_all(client, subject, available(client, subject))
        device = server.device
    note = f"{subject.checkpoint}, {subject.size} x {subject.size}. A step with guidance is two network passes. "
    note += "Schedules: sgm_uniform at the base's 4 steps with guidance, else karras; the LoRA's own. "
    note += f"Seconds: the sampler's, a picture, median of {len(subject.prompts)}, warm, on {device}."
    headings = [result.column.heading(result.seconds) for result in results]
    rows = list(zip(*(result.pictures for result in results)))
    sheet = contact_sheet(rows, subject.prompts, headings, "FewStep: same prompts, same seeds", note)
    out = Path(args.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(out)
    print(table(results))
    print(f"\nSeconds: {note.partition('Seconds: ')[2]}\nThe sheet: {out}")


def read_subject(args: argparse.Namespace) -> Subject:
    """Turn the options into what is sampled."""
    if args.lora and not args.checkpoint:
        raise ValueError("demo: --lora is a LoRA for --checkpoint; give both.")
    for file in filter(None, (args.checkpoint, args.lora, args.prompts)):
        if not Path(file).is_file():
            raise FileNotFoundError(f"demo: there is no file {file}.")
    prompts = read_prompts(args.prompts) if args.prompts else PROMPTS if args.checkpoint else TINY_PROMPTS
    if not args.checkpoint:
        return Subject(TINY, TINY_LORA, prompts, args.size or 96, args.cfg or 2.0, TINY_STUDENTS)
    lora = Path(args.lora).name if args.lora else ""
    size = args.size or (1024 if is_sdxl(Path(args.checkpoint)) else 512)
    return Subject(Path(args.checkpoint).name, lora, prompts, size, args.cfg or 7.0)


def read_prompts(file: str) -> tuple[str, ...]:
    """Read a prompt a line."""
    lines = tuple(line.strip() for line in Path(file).read_text(encoding="utf-8-sig").splitlines() if line.strip())
    if not lines:
        raise ValueError(f"demo: {file} holds no prompts. Write one a line.")
    return lines


def is_sdxl(file: Path) -> bool:
    """Tell SDXL by the second text encoder in a safetensors header; other files are taken for SD1.5."""
    if file.suffix != ".safetensors":
        return False
    with file.open("rb") as stream:
        header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
    return any(name.startswith("conditioner.embedders.1.") for name in header)


def all_columns(subject: Subject) -> list[Column]:
    """List the ways of sampling, base first."""
    # The best of the stock samplers at 4 network passes on the tiny base (benchmarks/quality).
    best_at_4 = {"sampler_name": "uni_pc", "cfg": 1.0, "scheduler": "karras"}
    fast = {"sampler_name": "dpmpp_2m", "cfg": subject.cfg, "scheduler": "sgm_uniform"}
    base = [
        Column("base, 25 steps", 25, 50, fast | {"scheduler": "karras"}),
        Column("base, 4 steps", 4, 8, fast),
        Column("base, 4 steps, no CFG", 4, 4, best_at_4),
    ]
    if not subject.lora:
        return base
    students = subject.students or tuple(("LCM-LoRA", n, subject.lora) for n in (1, 2, 4, 8))
    return base + [Column(f"{method}, {named(n)}", n, n, lora=file) for method, n, file in students]


def named(steps: int) -> str:
    return "1 step" if steps == 1 else f"{steps} steps"


def available(client: Client, subject: Subject) -> list[Column]:
    """Drop the student's columns, and say so, where its LoRA, its node or its graph is missing."""
    columns = all_columns(subject)
    if reason := student_missing(client, subject):
        print(f"Only the base is sampled: {reason}", flush=True)
        return [column for column in columns if not column.ours]
    return columns


def student_missing(client: Client, subject: Subject) -> str:
    """Say what keeps the student from being sampled, or nothing."""
    if not subject.lora:
        return "no --lora was given."
    if not STUDENT_GRAPH.is_file():
        return f"there is no {STUDENT_GRAPH}."
    info = client.get("/object_info/FewStepLoadLora").get("FewStepLoadLora")
    if info is None:
        return "the host did not load the pack's node FewStepLoadLora; its log tells why."
    if subject.lora not in info["input"]["required"]["lora_name"][0]:
        return f"{subject.lora} is in none of the host's folders of LoRAs. Its place is assets/loras."
    return ""


def graph(column: Column, subject: Subject, prompt: str, seed: int, steps: int | None = None) -> Workflow:
    """Return the graph for one picture."""
    plan = workflow.load(STUDENT_GRAPH if column.ours else BASE_GRAPH)
    sampler = workflow.find(plan, *SAMPLERS)
    plan = workflow.with_prompts(plan, sampler, prompt)
    plan = workflow.patched(plan, "CheckpointLoaderSimple", ckpt_name=subject.checkpoint)
    plan = workflow.patched(plan, "EmptyLatentImage", width=subject.size, height=subject.size, batch_size=1)
    plan = workflow.patched(plan, "SaveImage", filename_prefix="demo/picture")
    name = "seed" if "seed" in plan[sampler]["inputs"] else "noise_seed"
    steps = steps or column.steps
    plan = workflow.with_inputs(plan, sampler, {name: seed, **column.values})
    if column.ours:
        return workflow.patched(plan, "FewStepLoadLora", lora_name=column.lora, steps=steps)
    return workflow.with_inputs(plan, sampler, {"steps": steps})


def sample_all(client: Client, subject: Subject, columns: Sequence[Column]) -> list[Result]:
    """Sample every prompt in every way, with one bar over all steps."""
    total = sum(column.steps for column in columns) * len(subject.prompts)
    with step_bar(total, "loading") as bar:
        return [sample_column(client, subject, column, bar) for column in columns]


def sample_column(client: Client, subject: Subject, column: Column, bar: tqdm) -> Result:
    """Sample every prompt in one way, the nth with seed n."""
    # One discarded step first: loading the model and patching its weights are not the sampler's time.
    client.run(graph(column, subject, subject.prompts[0], 0, steps=1), progress=silent)
    bar.set_description(column.name)
    runs = [sample(client, graph(column, subject, text, n), bar) for n, text in enumerate(subject.prompts, 1)]
    return Result(column, [picture for picture, _ in runs], statistics.median(seconds for _, seconds in runs))


def sample(client: Client, plan: Workflow, bar: tqdm) -> tuple[Image.Image, float]:
    """Run one graph; return its picture and the seconds its sampler took."""
    sampler, start = workflow.find(plan, *SAMPLERS), bar.n

    def progress(node: str, value: int, _: int) -> None:
        if node == sampler:
            bar.update(start + value - bar.n)

    run = client.run(plan, progress=progress)
    return client.pictures(run.outputs)[0], run.node_seconds[sampler]


def table(results: Sequence[Result]) -> str:
    """Return the figures as text."""
    lines = [f"\n{'':22}{'steps':>7}{'passes':>8}{'s/picture':>11}{'speed-up':>10}"]
    for result in results:
        column, speed = result.column, results[0].seconds / result.seconds
        lines.append(f"{column.name:22}{column.steps:7}{column.passes:8}{result.seconds:11.2f}{speed:9.1f}x")
    return "\n".join(lines)
