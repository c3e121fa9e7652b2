"""What a method is made of: a turn says which role trains, when, and on which weighted terms."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial


@dataclass(frozen=True)
class Turn:
    """role trains every so many steps on ((term, weight), ...); a term is `(roles, path, batch) -> (loss, logs)`.

    It is due in steps first <= n < last (None: to the end). learning_rate: None is the run's.
    """

    role: str
    terms: tuple[tuple[Callable, float], ...]
    every: int = 1
    first: int = 0
    last: int | None = None
    learning_rate: float | None = None

    def due(self, step: int) -> bool:
        return self.first <= step and (self.last is None or step < self.last) and (step - self.first) % self.every == 0

    def asked(self, name: str) -> list:
        """An option's value in every term that has it."""
        found = (getattr(term, "keywords", {}).get("options") for term, _ in self.terms)
        return [getattr(options, name) for options in found if hasattr(options, name)]


@dataclass(frozen=True)
class Method:
    """name and options go into the run's config and the file's metadata; sampler, schedule: what the student needs.

    pictures: whether a term looks at them; timesteps: the student's own, by number of steps, where they are not the
    schedule's; most: steps it is for; on_pictures: (term, weight) of the student's turns that still want a decoder;
    judge: whose features the discriminator's heads look at. On the critic's they learn in the critic's turns.
    """

    name: str
    options: object
    turns: tuple[Turn, ...]
    sampler: str
    schedule: str
    pictures: bool = True
    timesteps: tuple[tuple[int, ...], ...] = ()
    most: int = 8
    eta: float = 0.0
    on_pictures: tuple[tuple[Callable, float], ...] = ()
    judge: str = "teacher"

    def recipe(self) -> dict:
        return {"method": self.name, **asdict(self.options)}

    def asked(self, name: str) -> list:
        """An option's value in every term of every turn that has it."""
        return [value for turn in self.turns for value in turn.asked(name)]

    @property
    def trained(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(turn.role for turn in self.turns))

    @property
    def handovers(self) -> tuple[int, ...]:
        """Steps at which "previous" becomes the student as it is: where turns that ask it begin."""
        return tuple(turn.first for turn in self.turns if "previous" in turn.asked("teacher"))

    @property
    def roles(self) -> tuple[str, ...]:
        """Beside the teacher: the student and its average, who else trains, and the student of the phase before."""
        heads = ("discriminator",) if self.judge != "teacher" else ()
        previous = ("previous",) if self.handovers else ()
        return tuple(dict.fromkeys(("student", "target", *self.trained, *heads, *previous)))

    @property
    def averages(self) -> bool:
        """Whether a term asks the moving average, which the run must then have."""
        return "ema" in self.asked("target")

    @property
    def embeds_guidance(self) -> bool:
        """Whether a term tells the student its guidance scale: full weights only."""
        return any(self.asked("guidance_embedding"))


def one_term(term: Callable, options: object, role: str = "student", **when) -> Turn:
    return Turn(role, ((partial(term, options=options), 1.0),), **when)
