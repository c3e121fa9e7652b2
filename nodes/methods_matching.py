"""What a student is taught by on noise alone, its own or the teacher's: Imagine Flash, pairs, SwiftBrush, DMD; sums."""

from ..host.rewards import encoders
from ..training import methods
from ..training.checks import require
from ..training.method import total
from ..training.on_images import with_perceptual
from ..training.options import DMDOptions, PairsOptions, ReconstructionOptions, SwiftBrushOptions
from .methods import DISCRIMINATOR, METHOD, TO_DISTILL
from .widgets import GUIDANCE, SMALL, WEIGHT, choice, chosen, inputs, number, of, rate, socket, text, whole


class FewStepMethodImagineFlash:
    TITLE = "FewStep Method Imagine Flash"
    DESCRIPTION = (
        "Backward distillation with the shifted reconstruction loss (Kohler et al. 2024): the student learns on its "
        "own steps, from prompts alone. For 1-3 steps; sample with imagine_flash. gamma and k are not published."
    )
    SEARCH_ALIASES = ["imagine flash", "backward distillation", "add", "distillation"]
    CATEGORY = "FewStep/training/methods"
    FUNCTION = "build"
    RETURN_TYPES = (METHOD,)
    OUTPUT_TOOLTIPS = TO_DISTILL

    @classmethod
    def INPUT_TYPES(cls):
        start = "backward: the student's own rollout. forward: noised images, as its rivals do."
        shift = "Where the teacher starts: gamma(t), x_t itself (step distillation), random (ADD)."
        widgets = of(
            ReconstructionOptions(),
            timesteps=text("The student's steps, falling."),
            start=choice(start),
            shift=choice(shift),
            gamma_max=number((1.0, 999.0, 1.0), "gamma at t = 999.", advanced=True),
            gamma_power=number((0.1, 5.0, 0.1), "gamma_max (t / 999)^power.", advanced=True),
            noise=choice("fresh needs the adversarial loss: alone it blurs.", advanced=True),
            teacher_steps=whole(50, "k, the teacher's steps."),
            guidance=number(GUIDANCE, "cfg of the teacher."),
            loss=choice("The paper takes l2."),
            huber_c=number(SMALL, "c of the Huber distance.", round=1e-6, advanced=True),
            adversarial=number((0.0, 10.0, 0.01), "Weight of the adversarial loss. 0.1 is PCM's."),
            real=choice("What the discriminator holds for real: the data's images, or the teacher's answers."),
            **DISCRIMINATOR,
        )
        return inputs(widgets)

    def build(self, **options):
        return (methods.imagine_flash(chosen(ReconstructionOptions(), **options)),)


class FewStepMethodPairs:
    TITLE = "FewStep Method Pairs"
    DESCRIPTION = (
        "Regression on pairs of a noise and the teacher's image of it: a one-step student, and the start that DMD2 "
        "gives its own (Yin et al. 2024, section 4.5). Let FewStep Dataset draw the images: then it knows their noises."
    )
    SEARCH_ALIASES = ["pairs", "regression", "reflow", "dmd", "one step", "distillation"]
    CATEGORY = "FewStep/training/methods"
    FUNCTION = "build"
    RETURN_TYPES = (METHOD,)
    OUTPUT_TOOLTIPS = TO_DISTILL

    @classmethod
    def INPUT_TYPES(cls):
        below = "Where the student is asked, with unit noise. 999 multiplies its error by 14.6, 399 by 1.7 (DMD2)."
        widgets = of(
            PairsOptions(),
            timestep=whole(999, below, 0),
            loss=choice("Distance between the student's image and the teacher's."),
            huber_c=number(SMALL, "c of the Huber distance.", round=1e-6, advanced=True),
            teacher_steps=whole(50, "DDIM steps of the teacher where the data does not know its noises."),
            guidance=number(GUIDANCE, "cfg of the teacher there."),
            perceptual=number(WEIGHT, "Weight of the decoded images' distance in features. Needs vae.", advanced=True),
            features=choice("Whose features: a network in a Python package, named where it lacks.", advanced=True),
        )
        return inputs(widgets)

    def build(self, **options):
        own = chosen(PairsOptions(), **options)
        method = methods.pairs(own)
        if own.perceptual:
            method = with_perceptual(method, own, encoders.feature_maps(own.features, self.TITLE))
        return (method,)


# How student and critic take turns.
TURNS = {
    "student_every": whole(100, "Critic turns per student turn. DMD2: 5-10, SwiftBrush: 1."),
    "critic_head_start": whole(1000, "The critic's turns before the student's first.", 0, advanced=True),
    "student_rate": rate("The student's learning rate, where FewStep Distill leaves it to the method."),
    "critic_rate": rate("Learning rate of the critic's LoRA."),
    "critic_rank": whole(1024, "Rank of the critic's LoRA. 0: as the student's.", 0, advanced=True),
    "critic_alpha": number((0.0, 2048.0, 0.01), "Alpha of the critic's LoRA. 0: as the student's.", advanced=True),
    "critic_layers": text(
        "Layers of the critic's LoRA, as in FewStep Distill. Empty: as the student's.", advanced=True
    ),
}
# What SwiftBrush and DMD have in common.
BY_SCORES = {
    "guidance": number(GUIDANCE, "cfg of the real score (the teacher). What is above critic_guidance is learnt."),
    "critic_guidance": number(GUIDANCE, "cfg of the fake score (the critic). As guidance: both cancel."),
    **TURNS,
    "regression_weight": number(WEIGHT, "Weight of the regression on noise-image pairs. DMD: 0.25, DMD2: 0."),
    "regression_steps": whole(50, "DDIM steps of the teacher where the data does not know its noises.", advanced=True),
}


class FewStepMethodSwiftBrush:
    TITLE = "FewStep Method SwiftBrush"
    DESCRIPTION = (
        "SwiftBrush v2 (Dao et al. 2024): a one-step student from prompts alone, by variational score distillation "
        "against a LoRA critic on the same base. Start it from a few-step LoRA (start_lora)."
    )
    SEARCH_ALIASES = ["swiftbrush", "vsd", "one step", "distillation"]
    CATEGORY = "FewStep/training/methods"
    FUNCTION = "build"
    RETURN_TYPES = (METHOD,)
    OUTPUT_TOOLTIPS = TO_DISTILL

    @classmethod
    def INPUT_TYPES(cls):
        where = "Where its one step is asked: as start_lora was made. Below 999 it begins with unit noise there."
        (paper,) = SwiftBrushOptions().score.timesteps
        own = {"timestep": whole(999, where, 0, default=paper, advanced=True)}
        return inputs(of(SwiftBrushOptions(), **BY_SCORES) | own)

    def build(self, timestep=None, **options):
        own = {} if timestep is None else {"timesteps": str(timestep)}  # graphs of before the widget have none
        return (methods.swiftbrush(chosen(SwiftBrushOptions(), **own, **options)),)


class FewStepMethodDMD:
    TITLE = "FewStep Method DMD"
    DESCRIPTION = (
        "Distribution matching (DMD2, Yin et al. 2024) from prompts alone; Hyper-SD's one-step enhancement when it "
        "starts from the TSCD LoRA (start_lora)."
    )
    SEARCH_ALIASES = ["dmd", "dmd2", "distribution matching", "hyper-sd", "one step", "distillation"]
    CATEGORY = "FewStep/training/methods"
    FUNCTION = "build"
    RETURN_TYPES = (METHOD,)
    OUTPUT_TOOLTIPS = TO_DISTILL

    @classmethod
    def INPUT_TYPES(cls):
        steps = "The student's steps: 999, 800 (Hyper-SD's U-Net), 399 (DMD2's one step), or 999, 749, 499, 249."
        against = "Weight of the adversarial loss against the data's images. DMD2: 0.001-0.005. 0: prompts alone."
        telling = "Weight of the discriminator's loss in the critic's; for heads on the critic. DMD2: 0.01."
        where = "Levels of several steps' scores: all (DMD2), or each step its own, from its timestep to the next."
        widgets = of(
            DMDOptions(),
            timesteps=text(steps),
            **BY_SCORES,
            adversarial=number(WEIGHT, against),
            features=choice("What the discriminator looks at. DMD2: its critic."),
            discriminator_weight=number(WEIGHT, telling),
            **DISCRIMINATOR,
            levels=choice(where, advanced=True),
        )
        return inputs(widgets)

    def build(self, **options):
        return (methods.dmd(chosen(DMDOptions(), **options)),)


class FewStepMethodSum:
    TITLE = "FewStep Method Sum"
    DESCRIPTION = "first + weight x second: their losses in one run. Sampler and schedule are the first one's."
    SEARCH_ALIASES = ["add methods", "combine losses", "distillation"]
    CATEGORY = "FewStep/training/methods"
    FUNCTION = "build"
    RETURN_TYPES = (METHOD,)
    OUTPUT_TOOLTIPS = TO_DISTILL

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "first": socket(METHOD, "Says how the student will be sampled."),
                "second": socket(METHOD, "Its turns and losses are added."),
                "weight": number((0.0, 1000.0, 0.01), "Of second.", default=1.0),
            }
        }

    def build(self, first, second, weight):
        require(weight > 0, "weight 0 would train the second method for nothing. Disconnect it.")
        return (total(first, second, weight),)


NODES = (
    FewStepMethodImagineFlash,
    FewStepMethodPairs,
    FewStepMethodSwiftBrush,
    FewStepMethodDMD,
    FewStepMethodSum,
)
