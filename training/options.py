"""Every number of the papers, once: the methods' options, with the papers' values as defaults and where they are from.

A number that no paper gives says so, and says what was measured instead.
"""

from dataclasses import dataclass
from typing import Literal

from .checks import check_fields, require


@dataclass(frozen=True, kw_only=True)
class RoleOptions:
    """How a role's weights are trained. 0 or "": left to the run (the student) or as the student (the others)."""

    rate: float = 0.0  # AdamW's learning rate
    rank: int = 0  # of its LoRA
    alpha: float = 0.0  # of its LoRA, at that rank: the delta is alpha / rank * B A
    layers: str = ""  # which layers get its LoRA: see host/training/layers.py
    warmup: int = 0  # steps of linear warm-up
    betas: tuple[float, float] | None = None  # Adam's; None: (0.9, 0.999)


@dataclass(frozen=True, kw_only=True)
class DiscriminatorOptions:
    """Heads on frozen features, or on the critic's: PCM's form (Wang et al. 2024), hinge loss.

    PCM trains them at 1e-5 from published weights; fresh heads told 0.54 of an easy pair apart after 250 steps at that
    rate, 0.69 after 82 at 1e-3.
    """

    rate: float = 5e-4
    betas: tuple[float, float] = (0.0, 0.999)  # PCM's: no momentum in a game of two
    head_start: int = 50  # its turns before the student first hears of it
    maps: Literal["all", "middle"] = "all"  # every block's features (PCM), or the middle block's (DMD2)
    level_min: int = 0  # both pictures are noised to a timestep within these first
    level_max: int = 999

    def __post_init__(self):
        check_fields(self, positive=("rate",))
        require(self.head_start >= 0, f"head_start must not be negative, got {self.head_start}.")
        low, high = self.level_min, self.level_max
        require(0 <= low < high <= 999, f"levels need 0 <= level_min < level_max <= 999, got {low}..{high}.")


@dataclass(frozen=True, kw_only=True)
class ConsistencyOptions:
    """d( student's jump from t, target's jump from s ), both to `end`, with s = t - skip on the teacher's trajectory.

    | method | segments | end | source |
    | LCM, LCM-LoRA | 1 | clean, with boundary | Luo et al. 2023, algorithm 1 |
    | LCF | 1 | clean, solver data | Luo et al. 2023, section 4.4: no teacher, the image's own trajectory |
    | PCM | k | floor | Wang et al. 2024 |
    | TCD, CTM | 1 | random | Zheng et al. 2024; Kim et al. 2023 |
    | TSCD | k = 8, 4, 2, 1 | random | Ren et al. 2024 (Hyper-SD), algorithm 1 |
    """

    skip: int = 20  # timesteps between the two points of the trajectory (the paper's k)
    grid: int = 50  # points of the training grid, 50 = timesteps 19, 39, ..., 999
    # Of the teacher's ODE; data: no teacher, s has the image's own noise.
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
    teacher: Literal["teacher", "previous"] = "teacher"  # or the student of the phase before
    perturbation: float = 0.0  # offset noise: eps + c randn(b, c, 1, 1); Hyper-SD gives no value, 0.05-0.1 is usual
    distance: float = 1.0  # weight of d
    adversarial: float = 0.0  # weight of the adversarial loss between the two jumps
    adversarial_from: int = 0  # first step at which it counts
    discriminator: DiscriminatorOptions = DiscriminatorOptions()
    guidance_embedding: bool = False  # LCM: student and target are told w = guidance - 1; full weights only

    def __post_init__(self):
        grid, skip, low, high = self.grid, self.skip, self.guidance_min, self.guidance_max
        require(1 <= grid <= 1000 and 1000 % grid == 0, f"grid must divide 1000, got {grid}. 50 is usual.")
        stride = 1000 // grid
        whose = f"skip must be a multiple of {stride} (a step of the grid of {grid}), got {skip}."
        require(skip >= stride and skip % stride == 0, whose)
        require(0 < low <= high, f"guidance needs 0 < min <= max, got {low}..{high}. 1 is no guidance.")
        check_fields(self, counts=("solver_steps",), positive=("huber_c",))
        inside = 1 <= self.segments <= grid
        require(inside, f"segments must lie in 1..{grid} (the grid's points), got {self.segments}.")
        require(self.end != "clean" or self.segments == 1, "only a single segment can end at the clean image.")


@dataclass(frozen=True, kw_only=True)
class TSCDOptions:
    """Trajectory segmented consistency distillation (Ren et al. 2024, Hyper-SD), algorithm 1, phase by phase.

    The paper gives k = 8, 4, 2, 1 and says that MSE suits 8 and 4, the adversarial loss 2 and 1, without weights. Its
    adversary beside MSE had 1.25 to 4.8 times the distance's gradient here and harmed the student; beside PCM's Huber
    distance it has a share of it (docs/defaults.md). Later phases start from the student before; whether it is their
    teacher too is ambiguous: `previous_teacher` chooses. A student that teaches has guidance inside already and is
    asked without. skip, guidance: of each phase, one number for all or none for the consistency's own.
    """

    segments: tuple[int, ...] = (8, 4, 2, 1)
    phase_steps: tuple[int, ...] = (250, 250, 250, 250)
    distance: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)
    adversarial: tuple[float, ...] = (0.0, 0.05, 0.1, 0.1)
    skip: tuple[int, ...] = ()
    guidance: tuple[float, ...] = ()
    previous_teacher: bool = False  # teacher of later phases: the base, or the student of the phase before
    eta: float = 0.0  # of the sampler that the file names; TCD's gamma
    discriminator: DiscriminatorOptions = DiscriminatorOptions()
    consistency: ConsistencyOptions = ConsistencyOptions(boundary=False, end="random", target="ema")

    def __post_init__(self):
        per_phase = (self.segments, self.phase_steps, self.distance, self.adversarial)
        require(
            len({len(numbers) for numbers in per_phase}) == 1 and self.segments,
            "segments, phase_steps, distance and adversarial need one number for each phase, got "
            f"{', '.join(str(list(numbers)) for numbers in per_phase)}.",
        )
        require(min(self.phase_steps) >= 1, f"every phase needs steps, got {list(self.phase_steps)}.")
        for name in ("skip", "guidance"):
            numbers = getattr(self, name)
            fits = len(numbers) in (0, 1, len(self.segments))
            require(fits, f"{name} needs one number, or one for each of the {len(self.segments)} phases.")


@dataclass(frozen=True, kw_only=True)
class ReconstructionOptions:
    """Imagine Flash (Kohler et al. 2024), sections 3.1-3.2. gamma(t), k and the loss weights are not published.

    start "forward" with shift "none" is step distillation, "forward" with "schedule" forward distillation, "forward"
    with "random", fresh noise and one teacher step ADD: the paper's rivals.
    """

    timesteps: tuple[int, ...] = (999, 666, 332)  # the student's steps; the paper's list is not published
    start: Literal["backward", "forward"] = "backward"  # from the student's own rollout, or from the noised image
    shift: Literal["schedule", "none", "random"] = "schedule"  # the teacher starts at gamma(t), x_t, any level
    gamma_max: float = 900.0  # gamma(t) = gamma_max (t / 999)^gamma_power: 900, 510, 192 for three steps
    gamma_power: float = 1.4
    noise: Literal["own", "fresh"] = "own"  # at gamma(t), the trajectory's; fresh with L2 alone collapses to the mean
    teacher_steps: int = 4  # k
    guidance: float = 7.5  # of the teacher; learnt by the student, which samples without
    loss: Literal["l2", "huber"] = "l2"
    huber_c: float = 0.001
    distance: float = 1.0
    adversarial: float = 0.0
    adversarial_from: int = 0  # first step at which it counts
    real: Literal["data", "teacher"] = "data"  # what the discriminator holds for real: images, or the teacher's x0
    discriminator: DiscriminatorOptions = DiscriminatorOptions()

    def __post_init__(self):
        checked = {"counts": ("teacher_steps",), "positive": ("gamma_power", "huber_c"), "falling": ("timesteps",)}
        check_fields(self, **checked)
        require(0 < self.gamma_max <= 999, f"gamma_max must lie in 1..999, got {self.gamma_max}.")
        require(self.guidance > 0, f"guidance must be positive, got {self.guidance}. 1 is no guidance.")


@dataclass(frozen=True, kw_only=True)
class PairsOptions:
    """Regression on noise-image pairs: x0_student(noise at t) against the teacher's image of that same noise.

    DMD's regression term (Yin et al. 2023, section 3.3), InstaFlow's reflow (Liu et al. 2023), and DMD2's warm-up of
    its one-step SDXL student (Yin et al. 2024, section 4.5). Where the data are the teacher's own latents their noises
    are known and nothing is drawn again; else the teacher draws the image in `teacher_steps` steps from the top.

    An eps network multiplies its error by 1/a_t in x0: 14.6 at t = 999, 1.7 at 399, 1.1 at 200. DMD2 starts at 399.
    """

    timestep: int = 399  # where the student is asked, with noise of unit variance
    loss: Literal["huber", "l2"] = "huber"
    huber_c: float = 0.1
    teacher_steps: int = 8
    guidance: float = 7.5
    perceptual: float = 0.0  # weight of the distance of the two images' features; DMD: 0.25 of LPIPS and no latents'
    features: Literal["efficientnet-lite1", "efficientnet-lite2"] = "efficientnet-lite1"  # LPIPS' VGG is in no package

    def __post_init__(self):
        check_fields(self, counts=("teacher_steps",), positive=("huber_c", "guidance"))
        require(self.perceptual >= 0, f"perceptual must not be negative, got {self.perceptual}.")
        require(0 <= self.timestep <= 999, f"timestep must lie in 0..999, got {self.timestep}.")


@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """The score difference of SwiftBrush (Nguyen and Tran 2024; v2: Dao et al. 2024) and DMD (Yin et al. 2024).

    timesteps: the student's; one is the one-step student, t = 800 Hyper-SD's second product, t = 399 DMD2's one-step
    SDXL; several need a rollout.

    Scores guided alike cancel their guidance: the student comes to rest at the *unguided* teacher's images. A critic
    guided less leaves more to it than the number says: of Gaussians, 1.5 beside 1 and 2 beside 1.5 draw as cfg 2 does.
    """

    timesteps: tuple[int, ...] = (999,)
    weight: Literal["vsd", "dmd"] = "dmd"  # of the score difference: see score_gradient
    guidance: float = 7.5  # of the real score
    critic_guidance: float = 1.0  # of the fake score; SwiftBrush guides both alike
    t_min: int = 20
    t_max: int = 980
    levels: Literal["all", "segment"] = "all"  # of a step: t_min..t_max (DMD2), or from its timestep to the next (TDM)
    stochastic: bool = True  # rollout with fresh noise (DMD2) or deterministic
    drop: float = 0.1  # share of critic samples with the empty prompt, needed where the critic is guided
    critic_weight: Literal["eps", "vsd"] = "eps"  # of the critic's loss; vsd: eps times a_t, as SwiftBrush
    adversarial: float = 0.0  # weight of the adversarial loss, the data's images against the student's
    adversarial_from: int = 0  # first step at which it counts
    features: Literal["critic", "teacher"] = "critic"  # what the heads look at: the critic (DMD2), the frozen teacher
    discriminator_weight: float = 0.01  # of the discriminator's loss in the critic's; DMD2's value for SDXL
    discriminator: DiscriminatorOptions = DiscriminatorOptions()

    def __post_init__(self):
        check_fields(self, falling=("timesteps",))
        low, high = self.t_min, self.t_max
        require(0 <= low < high <= 999, f"t_min and t_max need 0 <= t_min < t_max <= 999, got {low}..{high}.")
        shared = self.levels == "all" or all(low <= t < high for t in self.timesteps[1:])
        require(shared, f"levels segment needs later timesteps in {low}..{high - 1}, got {list(self.timesteps)}.")
        require(self.guidance > 0 and self.critic_guidance > 0, "guidance must be positive.")
        require(0 <= self.drop <= 1, f"drop must lie in 0..1, got {self.drop}.")


@dataclass(frozen=True, kw_only=True)
class DMDOptions:
    """DMD and DMD2 (Yin et al. 2023, 2024): how student and critic take turns.

    regression_weight: of the pairs' term, 0 is off. DMD: 0.25 (with LPIPS); DMD2 drops it.
    """

    score: ScoreOptions = ScoreOptions()
    student_every: int = 5  # critic turns per student turn: DMD2 5-10
    critic_head_start: int = 0  # its turns before the student's first: a critic that is still the teacher says nothing
    student: RoleOptions = RoleOptions(rate=5e-5)  # DMD2's SDXL: 5e-7 for whole weights
    critic: RoleOptions = RoleOptions(rate=1e-4)
    regression_weight: float = 0.0
    regression_steps: int = 8  # of the teacher, where the noises of the data's latents are not known

    def __post_init__(self):
        check_fields(self, counts=("student_every", "regression_steps"))
        require(self.critic_head_start >= 0, f"critic_head_start must not be negative, got {self.critic_head_start}.")
        require(self.regression_weight >= 0, f"regression_weight must not be negative, got {self.regression_weight}.")


SWIFTBRUSH_SCORE = ScoreOptions(weight="vsd", guidance=4.5, critic_guidance=4.5, critic_weight="vsd")


@dataclass(frozen=True, kw_only=True)
class SwiftBrushOptions(DMDOptions):
    """SwiftBrush v2 (Dao et al. 2024): the same turns under the paper's numbers, one step, turn about.

    Both scores are guided by 4.5 and weighted as VSD. Student LoRA: rank 256, scaling 512; LoRA teacher: rank 64,
    scaling 128, rate 1e-3, on to_q and to_v alone (v1's code). The paper trains the student at 1e-6 for days; 1e-5 is
    the highest power of ten at which short runs stayed stable here (1e-4 did not: docs/defaults.md).
    """

    score: ScoreOptions = SWIFTBRUSH_SCORE
    student_every: int = 1
    student: RoleOptions = RoleOptions(rate=1e-5, rank=256, alpha=512.0)
    critic: RoleOptions = RoleOptions(rate=1e-3, rank=64, alpha=128.0, layers="to_q, to_v")


@dataclass(frozen=True, kw_only=True)
class FeedbackOptions:
    """relu(alpha - r(decode(x0))): a hinge, so that an image that is good enough is left alone.

    Hyper-SD (section 3.2) sums it over its rewards, with alpha unpublished; SwiftBrush v2's clamped CLIP loss has the
    same form with alpha = tau = 0.35 and a weight falling from 0.1 to zero. x0 is reached by a rollout to a random
    student timestep, and one step carries the gradient (ReFL).
    """

    timesteps: tuple[int, ...] = ()  # of the rollout; none: the student's own
    alpha: float | None = None  # None: the reward's own, since rewards have scales of their own
    weight: float = 0.1  # SwiftBrush v2's at the start
    stochastic: bool = True  # the rollout, as the student's own sampler
    reward: str = ""  # its name, for the run's settings
    fade: Literal["none", "linear"] = "linear"  # of the weight, to zero at fade_steps
    fade_steps: int = 0  # 0: at the run's end, as SwiftBrush v2

    def __post_init__(self):
        check_fields(self, falling=("timesteps",) if self.timesteps else ())
        require(self.fade_steps >= 0, f"fade_steps must not be negative, got {self.fade_steps}.")

    def fading(self, step: int, steps: int) -> float:
        """What multiplies the weight at a step of a run of so many."""
        return 1.0 if self.fade == "none" else max(0.0, 1 - step / (self.fade_steps or max(steps, 1)))


@dataclass(frozen=True, kw_only=True)
class PerceptionOptions:
    """L_instance(m(decode(x0')), masks of x0): x0 noised to t_a, denoised by the student to d_t, where it says x0'.

    Source: Hyper-SD (Ren et al. 2024), section 3.2, which gives neither time. Near 999 nothing of the image is left,
    and its masks say nothing about what the student draws; the defaults are the lower three of four steps.
    """

    timesteps: tuple[int, ...] = (759, 499, 259)  # the student's, from t_a down; d_t is one of those below the first
    weight: float = 0.1
    critic: str = ""  # its name, for the run's settings

    def __post_init__(self):
        check_fields(self, falling=("timesteps",))
