"""What looks at the student's decoded pictures, added to any method: rewards, and masks."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from .feedback import feedback
from .method import Method
from .methods import Together
from .options import FeedbackOptions, PerceptionOptions
from .perception import perception


def with_feedback(method: Method, options: FeedbackOptions, reward: Callable) -> Method:
    """A method whose student turns learn from a reward too, once `bound` says how latents become pictures."""
    return judged(method, options, partial(feedback, options=options, reward=reward))


def with_perception(method: Method, options: PerceptionOptions, critic: Callable) -> Method:
    """A method whose student turns learn from the masks of its pictures too."""
    return replace(judged(method, options, partial(perception, options=options, critic=critic)), pictures=True)


def judged(method: Method, options, term: Callable) -> Method:
    found = (*method.on_pictures, (term, options.weight))
    return replace(method, on_pictures=found, options=Together((method.options, options)))


def bound(method: Method, decode: Callable) -> Method:
    """The method with what looks at pictures as terms; decode: latents in the model's scale -> pictures in 0..1."""
    terms = tuple((partial(term, decode=decode), weight) for term, weight in method.on_pictures)
    turns = tuple(replace(t, terms=t.terms + terms) if t.role == "student" else t for t in method.turns)
    return replace(method, turns=turns, on_pictures=())
