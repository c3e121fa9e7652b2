"""What looks at the student's decoded images, added to any method: rewards, and masks."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from .feedback import feedback
from .method import Method, Term, Together, Turn
from .options import FeedbackOptions, PairsOptions, PerceptionOptions
from .pairs import perceptual
from .perception import perception


@dataclass(frozen=True)
class OnImages:
    """A term's function that wants images: function(roles, path, batch, options, network, decode)."""

    function: Callable
    network: Callable
    decode: Callable | None = None

    def __call__(self, roles, path, batch, options) -> tuple:
        return self.function(roles, path, batch, options, self.network, self.decode)


def with_feedback(method: Method, options: FeedbackOptions, reward: Callable, alone: bool = False) -> Method:
    """A method whose student turns learn from a reward too, once `bound` says how latents become images.

    The rollout follows the student's own sampler and, where the options name none, its own timesteps; alpha is the
    reward's own where the options have none. alone: the method says only how the student samples, and the reward is
    all that it learns from; Hyper-SD trains its feedback LoRA so, over its distilled one.
    """
    options = replace(
        options,
        timesteps=options.timesteps or tuple(method.timesteps_for(min(method.most, 4))),
        stochastic=method.sampler == "lcm",
        alpha=reward.alpha if options.alpha is None else options.alpha,
        reward=reward.name,
    )
    if alone:
        method = replace(method, turns=(Turn("student", ()),), images=False, discriminator_features="teacher")
    return with_term(method, Term(OnImages(feedback, reward), options, options.weight))


def with_perception(method: Method, options: PerceptionOptions, critic: Callable) -> Method:
    """A method whose student turns learn from the masks of its images too."""
    return replace(with_term(method, Term(OnImages(perception, critic), options, options.weight)), images=True)


def with_perceptual(method: Method, options: PairsOptions, features: Callable) -> Method:
    """A method of pairs whose student also nears the features of the teacher's decoded image."""
    term = Term(OnImages(perceptual, features), options, options.perceptual)
    return replace(method, on_images=(*method.on_images, term))


def with_term(method: Method, term: Term) -> Method:
    return replace(method, on_images=(*method.on_images, term), options=Together((method.options, term.options)))


def bound(method: Method, decode: Callable) -> Method:
    """The method with what looks at images as terms; decode: latents in the model's scale -> images in 0..1."""
    terms = tuple(replace(term, function=replace(term.function, decode=decode)) for term in method.on_images)
    turns = tuple(replace(t, terms=t.terms + terms) if t.role == "student" else t for t in method.turns)
    return replace(method, turns=turns, on_images=())
