"""Every number of the papers, once: the methods' options, with the papers' values as defaults."""

from dataclasses import dataclass
from typing import Literal

from .checks import check_fields, require


@dataclass(frozen=True, kw_only=True)
class ConsistencyOptions:
    """d( student's jump from t, target's jump from s ), both to `end`, with s = t - skip on the teacher's trajectory.

    | method | segments | end | source |
    | LCM, LCM-LoRA | 1 | clean, with boundary | Luo et al. 2023, algorithm 1 |
    | LCF | 1 | clean, solver data | Luo et al. 2023, section 4.4: no teacher, the picture's own trajectory |
    | PCM | k | floor | Wang et al. 2024 |
    | TCD, CTM | 1 | random | Zheng et al. 2024; Kim et al. 2023 |
    | TSCD | k = 8, 4, 2, 1 | random | Ren et al. 2024 (Hyper-SD), algorithm 1 |
    """

    skip: int = 20  # timesteps between the two points of the trajectory (the paper's k)
    grid: int = 50  # points of the training grid, 50 = timesteps 19, 39, ..., 999
    # Of the teacher's ODE; data: no teacher, s has the picture's own noise.
    solver: Literal["ddim", "dpmsolver", "dpmsolver++", "data"] = "ddim"
    solver_steps: int = 1  # steps of the solver within one skip; more for long skips
    guidance_min: float = 8.5  # usual guidance scale (the papers' w + 1) baked into the student, drawn uniformly
    guidance_max: float = 8.5  # LCM-LoRA fixes w = 7.5; LCM draws w in 2..14
    loss: Literal["huber", "l2"] = "huber"
    huber_c: float = 0.001
    target: Literal["student", "ema"] = "student"  # stop-gradient, as LCM-LoRA; or the moving average, as LCM
    boundary: bool = True  # c_skip, c_out of the paper; for jumps to the clean end only
    segments: int = 1  # k: jumps end inside the segment of t
    end: Literal["clean", "floor", "random"] = "clean"  # x0, the segment's floor, or between floor and s
    teacher: str = "teacher"  # or "previous": the student of the phase before
    perturbation: float = 0.0  # offset noise: eps + c randn(b, c, 1, 1); Hyper-SD gives no value, 0.05-0.1 is usual
    distance: float = 1.0  # weight of d
    adversarial: float = 0.0  # weight of the adversarial loss between the two jumps
    guidance_embedding: bool = False  # LCM: student and target are told w = guidance - 1; full weights only

    def __post_init__(self):
        grid, skip, low, high = self.grid, self.skip, self.guidance_min, self.guidance_max
        require(1 <= grid <= 1000 and 1000 % grid == 0, f"LCM: grid must divide 1000, got {grid}. 50 is usual.")
        stride = 1000 // grid
        whose = f"LCM: skip must be a multiple of {stride} (a step of the grid of {grid}), got {skip}."
        require(skip >= stride and skip % stride == 0, whose)
        require(0 < low <= high, f"LCM: guidance needs 0 < min <= max, got {low}..{high}. 1 is no guidance.")
        check_fields(self, "LCM: ", counts=("solver_steps",), positive=("huber_c",))
        inside = 1 <= self.segments <= grid
        require(inside, f"TSCD: segments must lie in 1..{grid} (the grid's points), got {self.segments}.")
        require(self.end != "clean" or self.segments == 1, "TSCD: only a single segment can end at the clean picture.")


@dataclass(frozen=True, kw_only=True)
class TSCDOptions:
    """Trajectory segmented consistency distillation (Ren et al. 2024, Hyper-SD), algorithm 1, phase by phase.

    The paper gives k = 8, 4, 2, 1 and says that MSE suits 8 and 4, the adversarial loss 2 and 1, without weights. Later
    phases start from the student before; whether it is their teacher too is ambiguous: `previous` chooses. A student
    that teaches has guidance inside already and is asked without.
    """

    segments: tuple[int, ...] = (8, 4, 2, 1)
    phase_steps: tuple[int, ...] = (250, 250, 250, 250)
    distance: tuple[float, ...] = (1.0, 1.0, 0.5, 0.25)
    adversarial: tuple[float, ...] = (0.0, 0.05, 0.1, 0.2)
    previous: bool = False  # teacher of later phases: the base, or the student of the phase before
    discriminator_rate: float = 1e-5  # PCM's value
    consistency: ConsistencyOptions = ConsistencyOptions(boundary=False, end="random", target="ema", loss="l2")

    def __post_init__(self):
        per_phase = (self.segments, self.phase_steps, self.distance, self.adversarial)
        require(
            len({len(numbers) for numbers in per_phase}) == 1 and self.segments,
            "TSCD: segments, phase_steps, distance and adversarial need one number for each phase, got "
            f"{', '.join(str(list(numbers)) for numbers in per_phase)}.",
        )
        require(min(self.phase_steps) >= 1, f"TSCD: every phase needs steps, got {list(self.phase_steps)}.")


@dataclass(frozen=True, kw_only=True)
class ReconstructionOptions:
    """Imagine Flash (Kohler et al. 2024), sections 3.1-3.2. gamma(t), k and the loss weights are not published.

    start "forward" with shift "none" is step distillation, "forward" with "schedule" forward distillation, "forward"
    with "random", fresh noise and one teacher step ADD: the paper's rivals.
    """

    timesteps: tuple[int, ...] = (999, 666, 332)  # the student's steps; the paper's list is not published
    start: Literal["backward", "forward"] = "backward"  # from the student's own rollout, or from the noised picture
    shift: Literal["schedule", "none", "random"] = "schedule"  # the teacher starts at gamma(t), x_t, any level
    gamma_max: float = 900.0  # gamma(t) = gamma_max (t / 999)^gamma_power: 900, 510, 192 for three steps
    gamma_power: float = 1.4
    noise: Literal["own", "fresh"] = "own"  # at gamma(t), the trajectory's; fresh with L2 alone collapses to the mean
    teacher_steps: int = 4  # k
    guidance: float = 7.5  # of the teacher; learnt by the student, which samples without
    loss: Literal["l2", "huber"] = "l2"
    distance: float = 1.0
    adversarial: float = 0.0

    def __post_init__(self):
        checked = {"counts": ("teacher_steps",), "positive": ("gamma_power",), "falling": ("timesteps",)}
        check_fields(self, "Imagine Flash: ", **checked)
        require(0 < self.gamma_max <= 999, f"Imagine Flash: gamma_max must lie in 1..999, got {self.gamma_max}.")
        require(self.guidance > 0, f"Imagine Flash: guidance must be positive, got {self.guidance}. 1 is no guidance.")


@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """The score difference of SwiftBrush (Nguyen and Tran 2024; v2: Dao et al. 2024) and DMD (Yin et al. 2024).

    timesteps: the student's; one is the one-step student, t = 800 Hyper-SD's second product, more need a rollout.
    """

    timesteps: tuple[int, ...] = (999,)
    weight: Literal["vsd", "dmd"] = "dmd"  # of the score difference: see score_gradient
    guidance: float = 7.5  # of the real score
    critic_guidance: float = 1.0  # of the fake score; SwiftBrush guides both
    t_min: int = 20
    t_max: int = 980
    stochastic: bool = True  # rollout with fresh noise (DMD2) or deterministic
    drop: float = 0.1  # share of critic samples with the empty prompt, needed where the critic is guided
    critic_weight: Literal["eps", "vsd"] = "eps"  # of the critic's loss; vsd: eps times a_t, as SwiftBrush
    adversarial: float = 0.0  # weight of the adversarial loss, the data's pictures against the student's
    features: Literal["critic", "teacher"] = "critic"  # what the heads look at: the critic (DMD2), the frozen teacher
    judging: float = 0.01  # weight of the discriminator's loss in the critic's; DMD2's value for SDXL

    def __post_init__(self):
        check_fields(self, "Score matching: ", falling=("timesteps",))
        low, high = self.t_min, self.t_max
        require(0 <= low < high <= 999, f"Score matching: 0 <= t_min < t_max <= 999, got {low}..{high}.")
        require(self.guidance > 0 and self.critic_guidance > 0, "Score matching: guidance must be positive.")
        require(0 <= self.drop <= 1, f"Score matching: drop must lie in 0..1, got {self.drop}.")


@dataclass(frozen=True, kw_only=True)
class ScoreMethodOptions:
    """How student and critic take turns. anchor, pictures: weights of the regression terms, 0 is off."""

    score: ScoreOptions = ScoreOptions()
    student_every: int = 5  # critic turns per student turn: DMD2 5-10, SwiftBrush 1
    critic_rate: float = 1e-4
    discriminator_rate: float = 1e-5  # of heads on the teacher; heads on the critic learn at its rate
    anchor: float = 0.0  # MSE to the teacher's own picture of the same noise (DMD's regression, Hyper-SD's MSE)
    anchor_steps: int = 8
    pictures: float = 0.0

    def __post_init__(self):
        check_fields(self, counts=("student_every",), positive=("critic_rate",))


@dataclass(frozen=True, kw_only=True)
class FeedbackOptions:
    """relu(alpha - r(decode(x0))): a hinge, so that a picture that is good enough is left alone.

    Hyper-SD (section 3.2) sums it over its rewards, with alpha unpublished; SwiftBrush v2's clamped CLIP loss has the
    same form with alpha = tau = 0.35 and a weight falling from 0.1 to zero. x0 is reached by a rollout to a random
    student timestep, and one step carries the gradient (ReFL).
    """

    timesteps: tuple[int, ...] = (999,)
    alpha: float = 0.35
    stochastic: bool = True
    reward: str = ""  # its name, for the run's settings
    weight: float = 1.0
    fade_steps: int = 0  # the weight falls linearly to zero at this step; 0: it stays

    def __post_init__(self):
        check_fields(self, "Feedback: ", falling=("timesteps",))
        require(self.fade_steps >= 0, f"Feedback: fade_steps must not be negative, got {self.fade_steps}.")

    def fading(self, step: int) -> float:
        return max(0.0, 1 - step / self.fade_steps) if self.fade_steps else 1.0


@dataclass(frozen=True, kw_only=True)
class PerceptionOptions:
    """L_instance(m(decode(x0')), masks of x0) with x0' the student's x0 at q(x0, eps, t), t one of its timesteps.

    Hyper-SD does not say which t. Near 999 nothing of the picture is left in q(x0, eps, t), and its masks say nothing
    about what the student draws; the defaults are the lower two of four steps.
    """

    timesteps: tuple[int, ...] = (499, 259)
    critic: str = ""  # its name, for the run's settings
    weight: float = 0.1

    def __post_init__(self):
        check_fields(self, "Perception: ", falling=("timesteps",))
