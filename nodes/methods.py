"""What a student is taught by, consistency along the teacher's trajectories: LCM, LCF, TSCD."""

from ..training import methods
from ..training.methods import TSCDOptions
from ..training.terms import ConsistencyOptions

METHOD = "FEWSTEP_METHOD"
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


class FewStepMethodLCM:
    TITLE = "FewStep Method LCM"
    DESCRIPTION = "Latent consistency distillation (Luo et al. 2023): LCM-LoRA's recipe, with its knobs."
    CATEGORY = "FewStep/training"
    FUNCTION = "build"
    RETURN_TYPES = (METHOD,)

    @classmethod
    def INPUT_TYPES(cls):
        guidance = {"default": 8.5, "min": 1.0, "max": 30.0, "step": 0.1}
        return {
            "required": {
                "skip": (
                    "INT",
                    {
                        "default": 20,
                        "min": 1,
                        "max": 1000,
                        "tooltip": "Timesteps between the two points, a multiple of "
                        "1000 / grid. The paper takes 20; short runs learn much faster with 100-250.",
                    },
                ),
                "grid": (
                    "INT",
                    {"default": 50, "min": 1, "max": 1000, "tooltip": "Points of the training grid. LCM: 50."},
                ),
                "solver_steps": (
                    "INT",
                    {
                        "default": 1,
                        "min": 1,
                        "max": 50,
                        "tooltip": "DDIM steps of the teacher per skip: 1 in the paper, 2 or more for long skips.",
                    },
                ),
                "guidance_min": (
                    "FLOAT",
                    {**guidance, "tooltip": "Usual cfg baked into the student; LCM-LoRA: 8.5 (its w + 1)."},
                ),
                "guidance_max": ("FLOAT", {**guidance, "tooltip": "Drawn between min and max for each sample."}),
                "loss": (["huber", "l2"], {"tooltip": "Distance between the two predictions."}),
                "huber_c": ("FLOAT", {"default": 0.001, "min": 1e-6, "max": 10.0, "step": 1e-6, "round": 1e-6}),
                "target": (
                    ["student", "ema"],
                    {"tooltip": "student: stop-gradient (LCM-LoRA). ema: LCM; needs ema_decay."},
                ),
                "boundary": ("BOOLEAN", {"default": True, "tooltip": "c_skip and c_out of the paper."}),
            },
            "optional": {  # added later: graphs saved before have no value for it
                "solver": (
                    ["ddim", "dpmsolver", "dpmsolver++"],
                    {"tooltip": "The teacher's ODE solver. The second-order ones ask it twice per step."},
                ),
                "guidance_embedding": (
                    "BOOLEAN",
                    {
                        "default": False,
                        "tooltip": "LCM's w-embedding: the student is told the guidance drawn between min and max, "
                        "and takes it at sampling. For train full; the paper draws 3 to 15.",
                    },
                ),
            },
        }

    def build(self, **options):
        return (methods.lcm(ConsistencyOptions(**options)),)


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


NODES = (FewStepMethodLCM, FewStepMethodLCF, FewStepMethodTSCD)
