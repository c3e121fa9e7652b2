"""What a claim is: arms, which are ways of sampling a student, and rules, which compare two of them on one figure."""

import re
from dataclasses import dataclass, field

STUDENTS = {  # shipped
    "LCM-LoRA": "fewstep-tiny-sd-lcm-lora.safetensors",
    "TSCD": "fewstep-tiny-sd-tscd.safetensors",
    "TSCD + DMD": "fewstep-tiny-sd-tscd-dmd-unified.safetensors",
    "Imagine Flash": "fewstep-tiny-sd-imagine-flash.safetensors",
    "SwiftBrush": "fewstep-tiny-sd-swiftbrush.safetensors",
    "DMD2, 1 step": "fewstep-tiny-sd-dmd.safetensors",
    "DMD2, 4 steps": "fewstep-tiny-sd-dmd2-4-steps.safetensors",
    "DMD, 4 segments": "fewstep-tiny-sd-dmd-4-segments.safetensors",
}
FIGURES = {
    "distance": "Frechet distance above the floor (benchmarks/quality); lower is nearer",
    "kid": "kernel distance of the same features, x 1000; lower is nearer",
    "precision": "share of the pictures on the real ones' manifold (k = 3)",
    "recall": "share of the real pictures on theirs",
    "saturation": "mean HSV saturation of the pictures",
    "contrast": "standard deviation of the luma within a picture, mean",
    "spread": "1 - cosine of the features of one caption's pictures, mean over pairs",
    "alignment": "cosine of picture and caption by the LiT heads (benchmarks/rewards), which know emoji alone",
}


@dataclass(frozen=True)
class Arm:
    """student: of STUDENTS or of those trained here (students.py), "" for the base; between: a second one, mixed in
    with 1 - weight."""

    student: str
    sampler: str
    steps: int
    between: str = ""
    weight: float = 1.0

    @property
    def name(self) -> str:
        """E.g. "TSCD + DMD, tcd, 4 steps"."""
        if not self.student:
            return f"base, {self.sampler}, {self.steps} steps"
        mixed = f"{self.weight:g} {self.student} + {1 - self.weight:g} {self.between}" if self.between else self.student
        return f"{mixed}, {self.sampler}, {self.steps} step{'s' * (self.steps > 1)}"

    @property
    def trained(self) -> bool:
        """Whether its student is trained for the claim, anew for every seed."""
        return bool(self.student) and self.student not in STUDENTS


@dataclass(frozen=True)
class Rule:
    """`better` has the smaller (or larger) figure than `than`, by more than the difference spreads over seeds."""

    figure: str
    better: str  # names of arms
    than: str
    larger: bool = False


@dataclass(frozen=True)
class Claim:
    """equation: what the arms differ in, in Markdown; sweep: one arm of the rules that beats every other is enough."""

    name: str
    source: str
    says: str
    arms: tuple[Arm, ...]
    rules: tuple[Rule, ...] = field(default_factory=tuple)
    note: str = ""
    equation: str = ""
    sweep: bool = False

    @property
    def trained(self) -> bool:
        return any(arm.trained for arm in self.arms)


def at(student: str, sampler: str, *steps: int) -> tuple[Arm, ...]:
    return tuple(Arm(student, sampler, count) for count in steps)


def pairs_of(figure: str, better: tuple[Arm, ...], than: tuple[Arm, ...], larger: bool = False) -> tuple[Rule, ...]:
    return tuple(Rule(figure, a.name, b.name, larger) for a, b in zip(better, than))


def mixtures(first: str, second: str, sampler: str, steps: int, *weights: float) -> tuple[Arm, ...]:
    return tuple(Arm(first, sampler, steps, second, weight) for weight in weights)


def beats_both(figure: str, between: tuple[Arm, ...], parents: tuple[Arm, Arm]) -> tuple[Rule, ...]:
    return tuple(Rule(figure, arm.name, parent.name) for parent in parents for arm in between)


def slug(name: str) -> str:
    """A name for files: "SwiftBrush, 32 prompts" is swiftbrush-32-prompts."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")
