"""What a student is taught by: one node per method, with the papers' values as defaults."""

from ..training import methods
from ..training.config import require
from ..training.matching import ReconstructionOptions, ScoreOptions
from ..training.methods import ScoreMethodOptions, TSCDOptions
from ..training.terms import ConsistencyOptions
from .train import METHOD

GUIDANCE = {"min": 1.0, "max": 30.0, "step": 0.1}
RATE = {"default": 1e-5, "min": 1e-8, "max": 1.0, "step": 1e-8, "round": 1e-9}


def numbers(text: str, kind: type, node: str, name: str) -> tuple:
    """ "8, 4, 2, 1" -> (8, 4, 2, 1)."""
    try:
        return tuple(kind(part) for part in text.replace(",", " ").split())
    except ValueError as error:
        raise ValueError(f"{node}: {name} must be numbers with commas between them, got {text!r}.") from error


def built(node: str, make):
    """The method, with the node's name before what its options refuse."""
    try:
        return (make(),)
    except ValueError as error:
        raise ValueError(f"{node}: {error}") from error


class FewStepMethodLCF:
    TITLE = "FewStep Method LCF"
    DESCRIPTION = (
        "Latent consistency fine-tuning (Luo et al. 2023, section 4.4): an LCM learns your pictures without a teacher. "
        "Start it from an LCM-LoRA (start_lora), and give pictures in a folder."
    )
    CATEGORY = "FewStep/training"
    FUNCTION = "build"
    RETURN_TYPES = (METHOD,)

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "skip": ("INT", {"default": 20, "min": 1, "max": 1000, "tooltip": "Timesteps between the two points."}),
                "grid": ("INT", {"default": 50, "min": 1, "max": 1000, "tooltip": "Points of the training grid."}),
                "loss": (["huber", "l2"], {"tooltip": "Distance between the two predictions."}),
                "huber_c": ("FLOAT", {"default": 0.001, "min": 1e-6, "max": 10.0, "step": 1e-6, "round": 1e-6}),
                "target": (["student", "ema"], {"tooltip": "ema is the paper's; it needs ema_decay."}),
                "boundary": ("BOOLEAN", {"default": True, "tooltip": "c_skip and c_out of the paper."}),
            }
        }

    def build(self, **options):
        return built("FewStepMethodLCF", lambda: methods.lcf(ConsistencyOptions(**options)))


class FewStepMethodTSCD:
    TITLE = "FewStep Method TSCD"
    DESCRIPTION = (
        "Trajectory segmented consistency distillation (Hyper-SD, Ren et al. 2024): 8, 4, 2, 1 segments, a phase each. "
        "One segment is TCD or CTM; end floor is PCM. Sample the student with tcd."
    )
    CATEGORY = "FewStep/training"
    FUNCTION = "build"
    RETURN_TYPES = (METHOD,)

    @classmethod
    def INPUT_TYPES(cls):
        guidance = {"default": 8.5, **GUIDANCE}
        return {
            "required": {
                "segments": ("STRING", {"default": "8, 4, 2, 1", "tooltip": "k of each phase. Hyper-SD: 8, 4, 2, 1."}),
                "phase_steps": (
                    "STRING",
                    {
                        "default": "250, 250, 250, 250",
                        "tooltip": "Steps of each phase; the last one goes on to the end.",
                    },
                ),
                "distance": (
                    "STRING",
                    {"default": "1, 1, 0.5, 0.25", "tooltip": "Weight of the MSE per phase. The paper lets it fall."},
                ),
                "adversarial": (
                    "STRING",
                    {
                        "default": "0, 0.05, 0.1, 0.2",
                        "tooltip": "Weight of the adversarial loss. The paper lets it rise.",
                    },
                ),
                "end": (
                    ["random", "floor"],
                    {"tooltip": "Where a jump ends: random in the segment (TSCD, CTM) or at its floor (PCM)."},
                ),
                "skip": ("INT", {"default": 20, "min": 1, "max": 1000, "tooltip": "Timesteps of the teacher's step."}),
                "solver_steps": ("INT", {"default": 1, "min": 1, "max": 50, "tooltip": "Solver steps within a skip."}),
                "solver": (["ddim", "dpmsolver", "dpmsolver++"], {"tooltip": "The teacher's ODE solver."}),
                "guidance_min": ("FLOAT", {**guidance, "tooltip": "Usual cfg baked into the student."}),
                "guidance_max": ("FLOAT", {**guidance, "tooltip": "Drawn between min and max for each sample."}),
                "loss": (["l2", "huber"], {"tooltip": "The paper takes MSE (l2)."}),
                "target": (["ema", "student"], {"tooltip": "ema is the paper's; it needs ema_decay."}),
                "perturbation": (
                    "FLOAT",
                    {"default": 0.0, "min": 0.0, "max": 1.0, "step": 0.01, "tooltip": "Offset noise; 0.05 is usual."},
                ),
                "previous_teacher": (
                    "BOOLEAN",
                    {"default": False, "tooltip": "Later phases learn from the student before, not from the base."},
                ),
                "discriminator_rate": ("FLOAT", {**RATE, "tooltip": "Learning rate of the discriminator. PCM: 1e-5."}),
            }
        }

    def build(self, segments, phase_steps, distance, adversarial, previous_teacher, discriminator_rate, **consistency):
        def make():
            read = {
                "segments": (segments, int),
                "phase_steps": (phase_steps, int),
                "distance": (distance, float),
                "adversarial": (adversarial, float),
            }
            lists = {name: numbers(text, kind, "TSCD", name) for name, (text, kind) in read.items()}
            jump = ConsistencyOptions(boundary=False, **consistency)
            return methods.tscd(
                TSCDOptions(**lists, previous=previous_teacher, discriminator_rate=discriminator_rate, consistency=jump)
            )

        return built("FewStepMethodTSCD", make)


class FewStepMethodImagineFlash:
    TITLE = "FewStep Method Imagine Flash"
    DESCRIPTION = (
        "Backward distillation with the shifted reconstruction loss (Kohler et al. 2024): the student learns on its "
        "own steps, from prompts alone. For 1-3 steps; sample with imagine_flash. gamma and k are not published."
    )
    CATEGORY = "FewStep/training"
    FUNCTION = "build"
    RETURN_TYPES = (METHOD,)

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "timesteps": ("STRING", {"default": "999, 666, 332", "tooltip": "The student's steps, falling."}),
                "start": (
                    ["backward", "forward"],
                    {"tooltip": "backward: the student's own rollout. forward: noised pictures, as its rivals do."},
                ),
                "shift": (
                    ["schedule", "none", "random"],
                    {"tooltip": "Where the teacher starts: gamma(t), x_t itself (step distillation), random (ADD)."},
                ),
                "gamma_max": (
                    "FLOAT",
                    {"default": 900.0, "min": 1.0, "max": 999.0, "step": 1.0, "tooltip": "gamma at t = 999."},
                ),
                "gamma_power": (
                    "FLOAT",
                    {"default": 1.4, "min": 0.1, "max": 5.0, "step": 0.1, "tooltip": "gamma_max (t / 999)^power."},
                ),
                "noise": (["own", "fresh"], {"tooltip": "fresh needs the adversarial loss: alone it blurs."}),
                "teacher_steps": ("INT", {"default": 4, "min": 1, "max": 50, "tooltip": "k, the teacher's steps."}),
                "guidance": ("FLOAT", {"default": 7.5, **GUIDANCE, "tooltip": "cfg of the teacher."}),
                "loss": (["l2", "huber"], {"tooltip": "The paper takes l2."}),
                "adversarial": (
                    "FLOAT",
                    {"default": 0.0, "min": 0.0, "max": 10.0, "step": 0.01, "tooltip": "0.1 is PCM's weight."},
                ),
                "discriminator_rate": ("FLOAT", {**RATE, "tooltip": "Learning rate of the discriminator."}),
            }
        }

    def build(self, timesteps, discriminator_rate, **options):
        def make():
            steps = numbers(timesteps, int, "Imagine Flash", "timesteps")
            return methods.imagine_flash(ReconstructionOptions(timesteps=steps, **options), discriminator_rate)

        return built("FewStepMethodImagineFlash", make)


EVERY = {"min": 1, "max": 100, "tooltip": "Critic turns per student turn."}
ANCHOR = {"min": 0.0, "max": 100.0, "step": 0.01, "default": 0.0}
ANCHOR_TIP = "Weight of an MSE to the teacher's own picture of the same noise. Costs anchor_steps passes."
ANCHOR_STEPS = {"default": 8, "min": 1, "max": 50, "tooltip": "DDIM steps of that picture."}
REAL = {**GUIDANCE, "tooltip": "cfg of the real score (the teacher)."}
FAKE = {**GUIDANCE, "tooltip": "cfg of the fake score (the critic)."}
CRITIC = {**RATE, "tooltip": "Learning rate of the critic's LoRA."}


class FewStepMethodSwiftBrush:
    TITLE = "FewStep Method SwiftBrush"
    DESCRIPTION = (
        "SwiftBrush v2 (Dao et al. 2024): a one-step student from prompts alone, by variational score distillation "
        "against a LoRA critic on the same base. Start it from a few-step LoRA (start_lora)."
    )
    CATEGORY = "FewStep/training"
    FUNCTION = "build"
    RETURN_TYPES = (METHOD,)

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "guidance": ("FLOAT", {**REAL, "default": 4.5}),
                "critic_guidance": ("FLOAT", {**FAKE, "default": 4.5}),
                "student_every": ("INT", {**EVERY, "default": 1}),
                "critic_rate": ("FLOAT", {**CRITIC, "default": 1e-3}),
                "anchor": ("FLOAT", {**ANCHOR, "tooltip": ANCHOR_TIP}),
                "anchor_steps": ("INT", ANCHOR_STEPS),
                "pictures": ("FLOAT", {**ANCHOR, "tooltip": "Weight of regularisation to the data's pictures."}),
            }
        }

    def build(self, guidance, critic_guidance, **options):
        def make():
            score = ScoreOptions(weight="vsd", guidance=guidance, critic_guidance=critic_guidance, critic_weight="vsd")
            return methods.swiftbrush(ScoreMethodOptions(score=score, **options))

        return built("FewStepMethodSwiftBrush", make)


class FewStepMethodDMD:
    TITLE = "FewStep Method DMD"
    DESCRIPTION = (
        "Distribution matching (DMD2, Yin et al. 2024) from prompts alone; Hyper-SD's one-step enhancement when it "
        "starts from the TSCD LoRA (start_lora)."
    )
    CATEGORY = "FewStep/training"
    FUNCTION = "build"
    RETURN_TYPES = (METHOD,)

    @classmethod
    def INPUT_TYPES(cls):
        steps = {
            "default": "999",
            "tooltip": "The student's steps: 999, 800 (Hyper-SD's U-Net), or 999, 749, 499, 249.",
        }
        return {
            "required": {
                "timesteps": ("STRING", steps),
                "guidance": ("FLOAT", {**REAL, "default": 7.5}),
                "critic_guidance": ("FLOAT", {**FAKE, "default": 1.0}),
                "student_every": ("INT", {**EVERY, "default": 5}),
                "critic_rate": ("FLOAT", {**CRITIC, "default": 1e-4}),
                "anchor": ("FLOAT", {**ANCHOR, "tooltip": ANCHOR_TIP}),
                "anchor_steps": ("INT", ANCHOR_STEPS),
                "pictures": ("FLOAT", {**ANCHOR, "tooltip": "Weight of regularisation to the data's pictures."}),
            }
        }

    def build(self, timesteps, guidance, critic_guidance, **options):
        def make():
            steps = numbers(timesteps, int, "DMD", "timesteps")
            score = ScoreOptions(timesteps=steps, guidance=guidance, critic_guidance=critic_guidance)
            return methods.dmd(ScoreMethodOptions(score=score, **options))

        return built("FewStepMethodDMD", make)


class FewStepMethodSum:
    TITLE = "FewStep Method Sum"
    DESCRIPTION = "first + weight x second: their losses in one run. Sampler and schedule are the first one's."
    CATEGORY = "FewStep/training"
    FUNCTION = "build"
    RETURN_TYPES = (METHOD,)

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "first": (METHOD, {"tooltip": "Says how the student will be sampled."}),
                "second": (METHOD, {"tooltip": "Its turns and losses are added."}),
                "weight": ("FLOAT", {"default": 1.0, "min": 0.0, "max": 1000.0, "step": 0.01, "tooltip": "Of second."}),
            }
        }

    def build(self, first, second, weight):
        require(weight > 0, "FewStepMethodSum: weight 0 would train the second method for nothing. Disconnect it.")
        return (methods.total(first, second, weight),)


NODES = (
    FewStepMethodLCF,
    FewStepMethodTSCD,
    FewStepMethodImagineFlash,
    FewStepMethodSwiftBrush,
    FewStepMethodDMD,
    FewStepMethodSum,
)
