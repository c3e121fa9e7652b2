"""What a student is taught by, consistency along the teacher's trajectories: LCM, LCF, TSCD."""

from ..training import methods
from ..training.options import ConsistencyOptions, TSCDOptions

METHOD = "FEWSTEP_METHOD"
# (min, max, step) of numbers that several methods have.
GUIDANCE, WEIGHT, SMALL = (1.0, 30.0, 0.1), (0.0, 100.0, 0.01), (1e-6, 10.0, 1e-6)


def whole(default: int, most: int, tooltip: str) -> tuple[str, dict]:
    """A widget for 1 to most."""
    return "INT", {"default": default, "min": 1, "max": most, "tooltip": tooltip}


def number(default: float, span: tuple[float, float, float], tooltip: str, **more) -> tuple[str, dict]:
    """A widget for a number in the span (min, max, step)."""
    low, high, step = span
    return "FLOAT", {"default": default, "min": low, "max": high, "step": step, "tooltip": tooltip, **more}


def rate(default: float, tooltip: str) -> tuple[str, dict]:
    """A widget for a learning rate."""
    return number(default, (1e-8, 1.0, 1e-8), tooltip, round=1e-9)


def text(default: str, tooltip: str) -> tuple[str, dict]:
    return "STRING", {"default": default, "tooltip": tooltip}


def yes_no(default: bool, tooltip: str) -> tuple[str, dict]:
    return "BOOLEAN", {"default": default, "tooltip": tooltip}


# Widgets that two methods or more have.
SOLVERS = ["ddim", "dpmsolver", "dpmsolver++"]
GUIDANCE_MAX = number(8.5, GUIDANCE, "Drawn between min and max for each sample.")
HUBER_C = number(0.001, SMALL, "c of the Huber distance sqrt(d^2 + c^2) - c.", round=1e-6)
LOSS = (["huber", "l2"], {"tooltip": "Distance between the two predictions."})
BOUNDARY = yes_no(True, "c_skip and c_out of the paper.")


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
        skip = (
            "Timesteps between the two points, a multiple of 1000 / grid. The paper takes 20; short runs learn much "
            "faster with 100-250."
        )
        steps = "DDIM steps of the teacher per skip: 1 in the paper, 2 or more for long skips."
        embedding = (
            "LCM's w-embedding: the student is told the guidance drawn between min and max, and takes it at sampling. "
            "For train full; the paper draws 3 to 15."
        )
        return {
            "required": {
                "skip": whole(20, 1000, skip),
                "grid": whole(50, 1000, "Points of the training grid. LCM: 50."),
                "solver_steps": whole(1, 50, steps),
                "guidance_min": number(8.5, GUIDANCE, "Usual cfg baked into the student; LCM-LoRA: 8.5 (its w + 1)."),
                "guidance_max": GUIDANCE_MAX,
                "loss": LOSS,
                "huber_c": HUBER_C,
                "target": (
                    ["student", "ema"],
                    {"tooltip": "student: stop-gradient (LCM-LoRA). ema: LCM; needs ema_decay."},
                ),
                "boundary": BOUNDARY,
            },
            "optional": {  # added later: graphs saved before have no value for it
                "solver": (
                    SOLVERS,
                    {"tooltip": "The teacher's ODE solver. The second-order ones ask it twice per step."},
                ),
                "guidance_embedding": yes_no(False, embedding),
            },
        }

    def build(self, **options):
        return built("FewStepMethodLCM", lambda: methods.lcm(ConsistencyOptions(**options)))


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
                "skip": whole(20, 1000, "Timesteps between the two points."),
                "grid": whole(50, 1000, "Points of the training grid."),
                "loss": LOSS,
                "huber_c": HUBER_C,
                "target": (["student", "ema"], {"tooltip": "ema is the paper's; it needs ema_decay."}),
                "boundary": BOUNDARY,
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
        ends = "Where a jump ends: random in the segment (TSCD, CTM) or at its floor (PCM)."
        return {
            "required": {
                "segments": text("8, 4, 2, 1", "k of each phase. Hyper-SD: 8, 4, 2, 1."),
                "phase_steps": text("250, 250, 250, 250", "Steps of each phase; the last one goes on to the end."),
                "distance": text("1, 1, 0.5, 0.25", "Weight of the MSE per phase. The paper lets it fall."),
                "adversarial": text("0, 0.05, 0.1, 0.2", "Weight of the adversarial loss. The paper lets it rise."),
                "end": (["random", "floor"], {"tooltip": ends}),
                "skip": whole(20, 1000, "Timesteps of the teacher's step."),
                "solver_steps": whole(1, 50, "Solver steps within a skip."),
                "solver": (SOLVERS, {"tooltip": "The teacher's ODE solver."}),
                "guidance_min": number(8.5, GUIDANCE, "Usual cfg baked into the student."),
                "guidance_max": GUIDANCE_MAX,
                "loss": (["l2", "huber"], {"tooltip": "The paper takes MSE (l2)."}),
                "target": (["ema", "student"], {"tooltip": "ema is the paper's; it needs ema_decay."}),
                "perturbation": number(0.0, (0.0, 1.0, 0.01), "Offset noise; 0.05 is usual."),
                "previous_teacher": yes_no(False, "Later phases learn from the student before, not from the base."),
                "discriminator_rate": rate(1e-5, "Learning rate of the discriminator. PCM: 1e-5."),
            }
        }

    def build(self, segments, phase_steps, distance, adversarial, previous_teacher, discriminator_rate, **consistency):
        def make():
            per_phase = {
                "segments": numbers(segments, int, "TSCD", "segments"),
                "phase_steps": numbers(phase_steps, int, "TSCD", "phase_steps"),
                "distance": numbers(distance, float, "TSCD", "distance"),
                "adversarial": numbers(adversarial, float, "TSCD", "adversarial"),
            }
            jump = ConsistencyOptions(boundary=False, **consistency)
            more = {"previous": previous_teacher, "discriminator_rate": discriminator_rate, "consistency": jump}
            return methods.tscd(TSCDOptions(**per_phase, **more))

        return built("FewStepMethodTSCD", make)


NODES = (FewStepMethodLCM, FewStepMethodLCF, FewStepMethodTSCD)
