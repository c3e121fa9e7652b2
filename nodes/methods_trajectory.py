"""What a student is taught by along its own steps: trajectory distribution matching."""

from ..training import methods
from ..training.options_trajectory import TrajectoryOptions
from .methods import METHOD, TO_DISTILL
from .methods_matching import TURNS
from .widgets import GUIDANCE, SMALL, choice, chosen, inputs, number, of, text, whole, yes_no


class FewStepMethodTDM:
    TITLE = "FewStep Method TDM"
    DESCRIPTION = (
        "Trajectory distribution matching (Luo et al. 2025) from prompts alone: every step of the student's own "
        "deterministic trajectory follows the teacher in that step's noise levels. Sample with ddim."
    )
    SEARCH_ALIASES = ["tdm", "trajectory distribution matching", "dmd", "few steps", "distillation"]
    CATEGORY = "FewStep/training/methods"
    FUNCTION = "build"
    RETURN_TYPES = (METHOD,)
    OUTPUT_TOOLTIPS = TO_DISTILL

    @classmethod
    def INPUT_TYPES(cls):
        levels = "segment: each step has levels of its own. above: up to the top, shared by steps."
        importance = "Weight the critic's samples by how likely the noise on them is."
        widgets = of(
            TrajectoryOptions(),
            steps=text("Numbers of steps it is trained for: 4, or several, as 1, 2, 4."),
            top=whole(1000, "The steps start one timestep below and are evenly spaced. 900: 899, 674, 449, 224.", 100),
            levels=choice(levels),
            guidance=number(GUIDANCE, "cfg of the real score (the teacher)."),
            loss=choice("Distance to the target. The authors take huber, which limits each pixel's pull."),
            **TURNS,
            weight=choice("Of the score difference. dmd: over mean |x0 - x0_real|.", advanced=True),
            huber_c=number(SMALL, "c of the Huber distance.", round=1e-6, advanced=True),
            importance=yes_no(importance, advanced=True),
            snr_most=number((0.1, 100.0, 0.1), "Most that a level counts for the critic (Min-SNR).", advanced=True),
            t_min=whole(500, "No level below.", 0, advanced=True),
            margin=whole(100, "Timesteps between the highest level and the upper end.", advanced=True),
        )
        return inputs(widgets)

    def build(self, **options):
        return (methods.tdm(chosen(TrajectoryOptions(), **options)),)


NODES = (FewStepMethodTDM,)
