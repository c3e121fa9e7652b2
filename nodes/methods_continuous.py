"""What a student is taught by without steps between two points: continuous-time consistency."""

from ..training import methods
from ..training.options_continuous import ContinuousOptions
from .methods import METHOD, TO_DISTILL
from .widgets import GUIDANCE, chosen, inputs, number, of, whole, yes_no


class FewStepMethodSCM:
    TITLE = "FewStep Method sCM"
    DESCRIPTION = (
        "Continuous-time consistency (Lu and Song 2024, sCM): the student's picture stands still along the teacher's "
        "path. The derivative is a difference over a few timesteps. Its sum with DMD has the form of rCM's loss."
    )
    SEARCH_ALIASES = ["scm", "rcm", "continuous", "consistency", "trigflow", "meanflow", "distillation"]
    CATEGORY = "FewStep/training/methods"
    FUNCTION = "build"
    RETURN_TYPES = (METHOD,)
    OUTPUT_TOOLTIPS = TO_DISTILL

    @classmethod
    def INPUT_TYPES(cls):
        step = "Timesteps over which the derivative is taken. Fewer are more exact, but bf16 rounds them away: 20-50."
        warmup = "Share of the run over which the derivative's second part comes in. The paper: 10,000 iterations."
        widgets = of(
            ContinuousOptions(),
            step=whole(500, step),
            guidance=number(GUIDANCE, "Usual cfg of the teacher, baked into the student."),
            warmup=number((0.0, 1.0, 0.01), warmup),
            normalise=yes_no("Divide the derivative by its own size + c.", advanced=True),
            c=number((0.001, 10.0, 0.001), "The paper: 0.1.", advanced=True),
            sigma_data=number((0.01, 10.0, 0.01), "Standard deviation of the latents.", advanced=True),
        )
        return inputs(widgets)

    def build(self, **options):
        return (methods.scm(chosen(ContinuousOptions(), **options)),)


NODES = (FewStepMethodSCM,)
