"""What looks at the student's own decoded images, added to any method: human feedback, and masks."""

from ..training.checks import require
from ..training.on_images import with_feedback, with_perception
from ..training.options import FeedbackOptions, PerceptionOptions
from .methods import METHOD, TO_DISTILL
from .rewards import CRITIC, REWARD
from .widgets import choice, chosen, inputs, number, of, socket, text, whole, yes_no

BESIDES = socket(METHOD, "What the student is taught by besides.")
WEIGHT = (0.0, 1000.0, 0.01)


class FewStepMethodFeedback:
    TITLE = "FewStep Method Feedback"
    DESCRIPTION = (
        "Adds a reward to any method: relu(alpha - reward) on the student's own decoded images, so that good ones are "
        "left alone. Hyper-SD's feedback; with CLIP, SwiftBrush v2's clamped loss."
    )
    SEARCH_ALIASES = ["reward", "refl", "human feedback", "hyper-sd", "clip loss"]
    CATEGORY = "FewStep/training/methods"
    FUNCTION = "build"
    RETURN_TYPES = (METHOD,)
    OUTPUT_TOOLTIPS = TO_DISTILL

    @classmethod
    def INPUT_TYPES(cls):
        fade = "linear: the weight falls to 0 at fade_steps, as in SwiftBrush v2."
        widgets = of(
            FeedbackOptions(),
            weight=number(WEIGHT, "SwiftBrush v2 begins with 0.1."),
            alpha=text("Score that is good enough. auto: the reward's own (CLIP: 0.35, SwiftBrush v2's)."),
            fade=choice(fade),
            fade_steps=whole(10000000, "Where the weight is 0. 0: at the end of the run.", 0),
            timesteps=text("Of the rollout; one carries the gradient. Empty: the student's own.", advanced=True),
        )
        alone = yes_no("On: the reward is all it learns from, as Hyper-SD trains its feedback LoRA.", default=False)
        reward = socket(REWARD, "The score to raise. Never rate the result by the same one.")
        return inputs({**widgets, "alone": alone}, method=BESIDES, reward=reward)

    def build(self, method, reward, alone=False, **options):
        options = chosen(FeedbackOptions(), **options)
        require(options.weight > 0, "weight 0 would do nothing. Disconnect it.")
        return (with_feedback(method, options, reward, alone),)


class FewStepMethodPerception:
    TITLE = "FewStep Method Perception"
    DESCRIPTION = (
        "Adds Hyper-SD's perceptual loss to any method: a training image is noised, the student cleans it, and a "
        "critic holds the result against the image's own masks. It needs a folder with masks."
    )
    SEARCH_ALIASES = ["masks", "instance perception", "hyper-sd", "segmentation loss"]
    CATEGORY = "FewStep/training/methods"
    FUNCTION = "build"
    RETURN_TYPES = (METHOD,)
    OUTPUT_TOOLTIPS = TO_DISTILL

    @classmethod
    def INPUT_TYPES(cls):
        timesteps = (
            "From where the image is noised to, down. Near 999 nothing of it is left, and its masks say nothing."
        )
        widgets = of(
            PerceptionOptions(),
            weight=number(WEIGHT, "Beside the method's own loss. Hyper-SD gives no value."),
            timesteps=text(timesteps),
        )
        critic = socket(CRITIC, "Mask R-CNN, or the second output of FewStep Reward Saliency.")
        return inputs(widgets, method=BESIDES, critic=critic)

    def build(self, method, critic, **options):
        options = chosen(PerceptionOptions(critic=critic.name), **options)
        require(options.weight > 0, "weight 0 would do nothing. Disconnect it.")
        return (with_perception(method, options, critic),)


NODES = (FewStepMethodFeedback, FewStepMethodPerception)
