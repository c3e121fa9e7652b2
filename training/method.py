"""What a method is made of: terms, and turns that say which role trains, when, and on which terms."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple, TypeVar

from ..samplers.registry import timesteps_for
from .checks import require
from .options import ConsistencyOptions, RoleOptions

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Term:
    """weight * function(roles, path, batch, options) -> (loss, logs)."""

    function: Callable
    options: object
    weight: float = 1.0

    def __call__(self, roles, path, batch) -> tuple:
        """(loss, logs) without the weight, which belongs to whoever adds terms up."""
        return self.function(roles, path, batch, self.options)


@dataclass(frozen=True)
class Turn:
    """role trains every so many steps on the sum of its terms. It is due in steps first <= n < last (None: the end)."""

    role: str
    terms: tuple[Term, ...]
    every: int = 1
    first: int = 0
    last: int | None = None

    def due(self, step: int) -> bool:
        return self.first <= step and (self.last is None or step < self.last) and (step - self.first) % self.every == 0


class Training(NamedTuple):
    """How one role's weights are trained, with nothing left open."""

    rate: float
    rank: int
    alpha: float
    layers: str
    warmup: int
    betas: tuple[float, float]


@dataclass(frozen=True)
class Method:
    """name and options go into the run's config and the file's metadata; sampler, schedule: what the student needs.

    roles_options: {role: how it trains, where the run's settings leave it open}. images: whether a term looks at the
    data's; timesteps: the student's own, by number of steps, where they are not the schedule's; most: steps it is for;
    on_images: terms of the student's turns that still want a decoder; discriminator_features: whose features the
    discriminator's heads look at, and which maps of them. On the critic's they learn in the critic's turns.
    """

    name: str
    options: object
    turns: tuple[Turn, ...]
    sampler: str
    schedule: str
    images: bool = True
    timesteps: tuple[tuple[int, ...], ...] = ()
    most: int = 8
    eta: float = 0.0
    on_images: tuple[Term, ...] = ()
    discriminator_features: str = "teacher"
    discriminator_maps: str = "all"
    roles_options: tuple[tuple[str, RoleOptions], ...] = ()

    def recipe(self) -> dict:
        return {"method": self.name, **asdict(self.options)}

    def options_of(self, kind: type[Kind]) -> list[Kind]:
        """The options of this class in every term of every turn."""
        return [term.options for turn in self.turns for term in turn.terms if isinstance(term.options, kind)]

    def timesteps_for(self, steps: int) -> list[int]:
        """What the student is sampled at in so many steps: its own list, or its schedule's."""
        return timesteps_for(self.schedule, steps, own=self.timesteps)

    @property
    def trained(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(turn.role for turn in self.turns))

    def begins(self, role: str) -> int:
        """The step of a role's first turn."""
        return min(turn.first for turn in self.turns if turn.role == role)

    @property
    def phases(self) -> tuple[int, ...]:
        """Steps at which the student's turns begin; its moving average begins anew there."""
        return tuple(sorted({turn.first for turn in self.turns if turn.role == "student"}))

    @property
    def handovers(self) -> tuple[int, ...]:
        """Steps at which "previous" becomes the student as it is: where turns that ask it begin."""
        return tuple(turn.first for turn in self.turns if any(map(asks_previous, turn.terms)))

    @property
    def roles(self) -> tuple[str, ...]:
        """Beside the teacher: the student and its average, who else trains, and the student of the phase before."""
        heads = ("discriminator",) if self.discriminator_features != "teacher" else ()
        previous = ("previous",) if self.handovers else ()
        return tuple(dict.fromkeys(("student", "target", *self.trained, *heads, *previous)))

    @property
    def averages(self) -> bool:
        """Whether a term asks the moving average, which the run must then have."""
        return any(options.target == "ema" for options in self.options_of(ConsistencyOptions))

    @property
    def embeds_guidance(self) -> bool:
        """Whether a term tells the student its guidance scale: full weights only."""
        return any(options.guidance_embedding for options in self.options_of(ConsistencyOptions))

    def training(self, role: str, config) -> Training:
        """How a role trains. The student: the run's settings, where one is 0 (or "") the method's; others: theirs."""
        own = dict(self.roles_options)
        student = chosen(own.get("student", RoleOptions()), of_run(config), DEFAULTS)
        if role in ("student", "target", "previous"):
            return student
        return chosen(own.get(role, RoleOptions()), RoleOptions(), student)


DEFAULTS = Training(rate=1e-4, rank=64, alpha=0.0, layers="all", warmup=0, betas=(0.9, 0.999))


def of_run(config) -> RoleOptions:
    """What the run's own settings say of the student."""
    settings = {"rate": config.learning_rate, "rank": config.rank, "alpha": config.alpha}
    return RoleOptions(**settings, layers=config.layers, warmup=config.warmup)


def chosen(method: RoleOptions, run: RoleOptions, otherwise: Training) -> Training:
    """The run's value where it has one, else the method's, else the last.

    LoRA alpha left open keeps the last one's alpha / rank, 1 where nobody says it; the method's is at its own rank.
    """
    rate, rank, layers, warmup = (
        getattr(run, name) or getattr(method, name) or getattr(otherwise, name)
        for name in ("rate", "rank", "layers", "warmup")
    )
    scale = otherwise.alpha / otherwise.rank if otherwise.alpha else 1.0
    if method.alpha:
        scale = method.alpha / (method.rank or rank)
    return Training(rate, rank, run.alpha or scale * rank, layers, warmup, method.betas or otherwise.betas)


def asks_previous(term: Term) -> bool:
    return isinstance(term.options, ConsistencyOptions) and term.options.teacher == "previous"


@dataclass(frozen=True)
class Together:
    """The options of several methods; weight: of the second."""

    parts: tuple
    weight: float = 1.0


def total(first: Method, second: Method, weight: float) -> Method:
    """first + weight second: equal turns become one with the terms of both, the others stand side by side."""
    together: dict[Turn, tuple[Term, ...]] = {}
    for method, factor in ((first, 1.0), (second, weight)):
        for turn in method.turns:
            key, weighted = replace(turn, terms=()), tuple(times(factor, term) for term in turn.terms)
            together[key] = together.get(key, ()) + weighted
    features = {method.discriminator_features for method in (first, second) if "discriminator" in method.roles}
    require(
        len(features) < 2,
        "one method's discriminator looks at the critic, the other's at the teacher. Set features of "
        "FewStep Method DMD to teacher.",
    )
    return replace(
        first,
        name=f"{first.name}+{second.name}",
        options=Together((first.options, second.options), weight),
        turns=tuple(replace(turn, terms=terms) for turn, terms in together.items()),
        images=first.images or second.images,
        on_images=(*first.on_images, *(times(weight, term) for term in second.on_images)),
        discriminator_features=next(iter(features), "teacher"),
        roles_options=tuple({**dict(second.roles_options), **dict(first.roles_options)}.items()),
    )


def times(factor: float, term: Term) -> Term:
    return replace(term, weight=factor * term.weight)
