"""What a student is taught by, consistency along the teacher's trajectories: LCM, LCF, TSCD."""

from ..training import methods
from ..training.options import ConsistencyOptions, TSCDOptions
from .widgets import GUIDANCE, SMALL, choice, chosen, inputs, number, of, rate, text, whole, yes_no

METHOD = "FEWSTEP_METHOD"
TO_DISTILL = ("What the student is taught by, for FewStep Distill.",)
# Widgets that several methods have.
SOLVERS = ["ddim", "dpmsolver", "dpmsolver++"]
GUIDANCE_MAX = number(GUIDANCE, "Drawn between min and max for each sample.")
HUBER_C = number(SMALL, "c of the Huber distance sqrt(d^2 + c^2) - c.", round=1e-6, advanced=True)
LOSS = choice("Distance between the two predictions.")
DISCRIMINATOR = {
    "discriminator_rate": rate("Learning rate of the discriminator. PCM: 1e-5, for heads that are trained already."),
    "discriminator_head_start": whole(100000, "Its turns before the student first hears of it.", 0, advanced=True),
    "discriminator_maps": choice("Every block's features (PCM), or the middle block's (DMD2).", advanced=True),
    "discriminator_level_min": whole(999, "Images are noised to a timestep from this one ...", 0, advanced=True),
    "discriminator_level_max": whole(999, "... to this one, before it looks at them.", advanced=True),
}
BOUNDARY = yes_no("c_skip and c_out of the paper.", advanced=True)


class FewStepMethodLCM:
    TITLE = "FewStep Method LCM"
    DESCRIPTION = "Latent consistency distillation (Luo et al. 2023): LCM-LoRA's recipe, with its knobs."
    SEARCH_ALIASES = ["lcm", "lcm-lora", "latent consistency", "consistency", "distillation"]
    CATEGORY = "FewStep/training/methods"
    FUNCTION = "build"
    RETURN_TYPES = (METHOD,)
    OUTPUT_TOOLTIPS = TO_DISTILL

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
        widgets = of(
            ConsistencyOptions(),
            skip=whole(1000, skip),
            grid=whole(1000, "Points of the training grid. LCM: 50.", advanced=True),
            solver=choice(
                "The teacher's ODE solver. The second-order ones ask it twice per step.", SOLVERS, advanced=True
            ),
            solver_steps=whole(50, steps, advanced=True),
            guidance_min=number(GUIDANCE, "Usual cfg baked into the student; LCM-LoRA: 8.5 (its w + 1)."),
            guidance_max=GUIDANCE_MAX,
            loss=LOSS,
            huber_c=HUBER_C,
            target=choice("student: stop-gradient (LCM-LoRA). ema: LCM; needs ema_decay."),
            boundary=BOUNDARY,
            guidance_embedding=yes_no(embedding, advanced=True),
        )
        return inputs(widgets)

    def build(self, **options):
        return (methods.lcm(chosen(ConsistencyOptions(), **options)),)


class FewStepMethodLCF:
    TITLE = "FewStep Method LCF"
    DESCRIPTION = (
        "Latent consistency fine-tuning (Luo et al. 2023, section 4.4): an LCM learns your images without a teacher. "
        "Start it from an LCM-LoRA (start_lora), and give images in a folder."
    )
    SEARCH_ALIASES = ["lcf", "lcm", "consistency", "fine-tuning", "distillation"]
    CATEGORY = "FewStep/training/methods"
    FUNCTION = "build"
    RETURN_TYPES = (METHOD,)
    OUTPUT_TOOLTIPS = TO_DISTILL

    @classmethod
    def INPUT_TYPES(cls):
        widgets = of(
            ConsistencyOptions(),
            skip=whole(1000, "Timesteps between the two points."),
            grid=whole(1000, "Points of the training grid.", advanced=True),
            loss=LOSS,
            huber_c=HUBER_C,
            target=choice("ema is the paper's; it needs ema_decay."),
            boundary=BOUNDARY,
        )
        return inputs(widgets)

    def build(self, **options):
        return (methods.lcf(chosen(ConsistencyOptions(), **options)),)


class FewStepMethodTSCD:
    TITLE = "FewStep Method TSCD"
    DESCRIPTION = (
        "Trajectory segmented consistency distillation (Hyper-SD, Ren et al. 2024): 8, 4, 2, 1 segments, a phase each. "
        "One segment is TCD or CTM; end floor is PCM. Sample the student with tcd."
    )
    SEARCH_ALIASES = ["tscd", "tcd", "hyper", "hyper-sd", "pcm", "ctm", "consistency", "distillation"]
    CATEGORY = "FewStep/training/methods"
    FUNCTION = "build"
    RETURN_TYPES = (METHOD,)
    OUTPUT_TOOLTIPS = TO_DISTILL

    @classmethod
    def INPUT_TYPES(cls):
        each = "One number, or one for each phase; empty: "
        widgets = of(
            TSCDOptions(),
            segments=text("k of each phase. Hyper-SD: 8, 4, 2, 1."),
            phase_steps=text("Steps of each phase; the last one goes on to the end."),
            distance=text("Weight of the distance in each phase. The paper lets it fall."),
            adversarial=text("Weight of the adversarial loss in each phase. The paper lets it rise."),
            end=choice(
                "Where a jump ends: random in the segment (TSCD, CTM) or at its floor (PCM).", ["random", "floor"]
            ),
            skip=text(f"Timesteps of the teacher's step. {each}20."),
            grid=whole(1000, "Points of the training grid. Skips are multiples of 1000 / grid.", advanced=True),
            solver=choice("The teacher's ODE solver.", SOLVERS, advanced=True),
            solver_steps=whole(50, "Solver steps within a skip.", advanced=True),
            guidance_min=number(GUIDANCE, "Usual cfg baked into the student."),
            guidance_max=GUIDANCE_MAX,
            guidance=text(f"Usual cfg by phase. {each}guidance_min to guidance_max.", advanced=True),
            loss=choice("The paper takes MSE (l2) beside weights it does not give."),
            huber_c=HUBER_C,
            target=choice("ema is the paper's; it needs ema_decay."),
            perturbation=number((0.0, 1.0, 0.01), "Offset noise; 0.05 is usual.", advanced=True),
            previous_teacher=yes_no("Later phases learn from the student before, not from the base.", advanced=True),
            eta=number((0.0, 1.0, 0.05), "What the file says to sample it with: TCD's gamma; 0 is deterministic."),
            **DISCRIMINATOR,
        )
        return inputs(widgets)

    def build(self, **options):
        return (methods.tscd(chosen(TSCDOptions(), **options)),)


NODES = (FewStepMethodLCM, FewStepMethodLCF, FewStepMethodTSCD)
