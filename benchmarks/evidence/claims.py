"""The claims as data. An arm is a way of sampling a shipped student; a rule compares two arms on one figure."""

from dataclasses import dataclass, field

STUDENTS = {
    "LCM-LoRA": "fewstep-tiny-sd-lcm-lora.safetensors",
    "TSCD": "fewstep-tiny-sd-tscd.safetensors",
    "TSCD + DMD": "fewstep-tiny-sd-tscd-dmd-unified.safetensors",
    "Imagine Flash": "fewstep-tiny-sd-imagine-flash.safetensors",
    "DMD2, 1 step": "fewstep-tiny-sd-dmd.safetensors",
    "DMD2, 4 steps": "fewstep-tiny-sd-dmd2-4-steps.safetensors",
}
FIGURES = {
    "distance": "Frechet distance above the floor (benchmarks/quality); lower is nearer",
    "kid": "kernel distance of the same features, x 1000; lower is nearer",
    "precision": "share of the pictures on the real ones' manifold (k = 3)",
    "recall": "share of the real pictures on theirs",
    "saturation": "mean HSV saturation of the pictures",
    "contrast": "standard deviation of the luma within a picture, mean",
    "spread": "1 - cosine of the features of one caption's pictures, mean over pairs",
}


@dataclass(frozen=True)
class Arm:
    """student: of STUDENTS, "" for the base in 25 steps; between: a second one, mixed in with 1 - weight."""

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


@dataclass(frozen=True)
class Rule:
    """`better` has the smaller (or larger) figure than `than`, by more than the difference spreads over seeds."""

    figure: str
    better: str  # names of arms
    than: str
    larger: bool = False


@dataclass(frozen=True)
class Claim:
    name: str
    source: str
    says: str
    arms: tuple[Arm, ...]
    rules: tuple[Rule, ...] = field(default_factory=tuple)
    note: str = ""


BASE = Arm("", "dpmpp_2m", 25)


def at(student: str, sampler: str, *steps: int) -> tuple[Arm, ...]:
    return tuple(Arm(student, sampler, count) for count in steps)


def pairs_of(figure: str, better: tuple[Arm, ...], than: tuple[Arm, ...], larger: bool = False) -> tuple[Rule, ...]:
    return tuple(Rule(figure, a.name, b.name, larger) for a, b in zip(better, than))


CORRECTED, PLAIN = at("Imagine Flash", "imagine_flash", 2, 3), at("Imagine Flash", "ddim", 2, 3)
TSCD, UNIFIED = at("TSCD", "tcd", 1, 2, 4, 8), at("TSCD + DMD", "tcd", 1, 2, 4, 8)
LCM = at("LCM-LoRA", "lcm", 1, 2, 4, 8)
FOUR = Arm("DMD2, 4 steps", "lcm", 4)
TWO_AND_THREE = at("DMD2, 4 steps", "lcm", 2, 3)
ONE = Arm("DMD2, 1 step", "lcm", 1)
FIRST_OF_FOUR, *MIXED = (Arm("DMD2, 1 step", "lcm", 1, "DMD2, 4 steps", weight) for weight in (0.0, 0.25, 0.5, 0.75))

CLAIMS = (
    Claim(
        "noise-correction",
        "Imagine Flash (Kohler et al. 2024), section 3.3",
        "Noise correction at the first step gives richer colour and contrast, the more the fewer the steps.",
        (*CORRECTED, *PLAIN),
        (
            *pairs_of("saturation", CORRECTED, PLAIN, larger=True),
            *pairs_of("contrast", CORRECTED, PLAIN, larger=True),
            *pairs_of("distance", CORRECTED, PLAIN),
        ),
        "At one step both are the same.",
    ),
    Claim(
        "below-the-teacher",
        "DMD2 (Yin et al. 2024)",
        "With an adversary on real pictures a student of four steps passes its teacher.",
        (FOUR, *TWO_AND_THREE, BASE),
        (*pairs_of("distance", (FOUR,), (BASE,)), Rule("recall", FOUR.name, BASE.name, larger=True)),
    ),
    Claim(
        "dmd-after-tscd",
        "Hyper-SD (Ren et al. 2024), section 3.3",
        "Distribution matching after TSCD makes the student's one step better and leaves its other steps usable.",
        (*TSCD, *UNIFIED),
        pairs_of("distance", UNIFIED[:1], TSCD[:1]),
    ),
    Claim(
        "tscd-against-lcm",
        "Hyper-SD (Ren et al. 2024)",
        "TSCD is better than LCM at 1, 2, 4 and 8 steps.",
        (*TSCD, *LCM),
        pairs_of("distance", TSCD, LCM),
    ),
    Claim(
        "merge",
        "SwiftBrush v2 (Dao et al. 2024), section 4.4",
        "A student between two parents is better than both.",
        (ONE, *MIXED, FIRST_OF_FOUR),
        (
            *(Rule("distance", arm.name, ONE.name) for arm in MIXED),
            *(Rule("distance", arm.name, FIRST_OF_FOUR.name) for arm in MIXED),
        ),
        "The parents are two DMD2 students here, not SwiftBrush's two schemes. One value of the sweep is enough.",
    ),
    Claim(
        "diversity",
        "users' first complaint of one-step students",
        "A one-step student's pictures of one caption are more alike than the base's.",
        (ONE, FOUR, BASE),
        (Rule("spread", ONE.name, BASE.name), Rule("spread", FOUR.name, BASE.name)),
    ),
)
