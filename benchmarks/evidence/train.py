"""The file of an arm's student: shipped, trained now for its seed and budget, or a mixture of two."""

from pathlib import Path

from ...recipes.students import runner
from ...weights import io, stream_loras
from ..quality.sample import CHECKPOINT, ROOT
from .claim import STUDENTS, Arm, slug
from .students import TRAINED

FOLDER = ROOT / "output" / "evidence"


class Trainer:
    """Trains what is missing. folder: of runs, LoRAs and mixtures; budget: steps of a student."""

    def __init__(self, folder: Path, budget: int):
        self.folder, self.budget, self._loaded = folder, budget, ()

    def file(self, arm: Arm, seed: int) -> Path:
        first = self.student(arm.student, seed)
        if not arm.between:
            return first
        mixed = self.folder / "mixtures" / f"{slug(arm.name)}-{self.budget}-{seed}.safetensors"
        if not mixed.exists():
            mixed.parent.mkdir(parents=True, exist_ok=True)
            second = self.student(arm.between, seed)
            stream_loras.interpolate(first, second, arm.weight, mixed, lambda *_: io.load(first)[1])
        return mixed

    def student(self, name: str, seed: int) -> Path:
        """The LoRA of a shipped student, or of one that is trained after the one that it starts from."""
        if name in STUDENTS:
            return ROOT / "assets" / "loras" / STUDENTS[name]
        stage, run = TRAINED[name](self.budget), self.run(name, seed)
        if stage.start and stage.start not in STUDENTS:
            self.student(stage.start, seed)
        start = STUDENTS.get(stage.start) or (stage.start and runner.listed(self.run(stage.start, seed)))
        prompts = spread_out(runner.captions(), stage.count)
        data, often = {"prompts": prompts, "count": len(prompts)}, max(40, self.budget // 2)
        seldom = {"save_every": often, "preview_every": often}
        return runner.run_stage(run, stage, data, self.loaded, self.folder, start, seed=seed, **seldom)

    def run(self, name: str, seed: int) -> str:
        return f"{slug(name)}-{self.budget}-{seed}"

    @property
    def loaded(self) -> tuple:
        """A base of its own: the one that pictures are drawn with has another layout of its VAE."""
        if not self._loaded:
            from fewstep.host import headless

            runner.use(self.folder)
            self._loaded = headless.load_checkpoint(CHECKPOINT)
        return self._loaded


def spread_out(every: tuple[str, ...], count: int) -> tuple[str, ...]:
    """At most `count` of them, at equal distances: their order is by concept."""
    return every[:: -(-len(every) // count)]
