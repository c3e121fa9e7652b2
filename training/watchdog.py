"""Runs that cannot come to anything any more: a dead critic, a discriminator that has won, a student without signal.

A GAN or a score method goes on without an error when one side is gone, and ruins the student. The limits are far from
anything a healthy run showed (one exception: the first turns, in which a critic that starts as the teacher gives the
student no gradient), and a single healthy turn starts the count anew.
"""

import logging
from collections import deque
from dataclasses import dataclass, field
from statistics import median

SILENT = 20  # turns in a row with a gradient of exactly 0, or with one and the same loss
EXPLODED = 10  # critic's turns in a row ...
EXPLOSION = 100.0  # ... above this multiple of the median of its first losses
FIRST = 20  # how many losses that median is of
IDLE = 50  # student's turns in a row in which no image was below a reward's alpha
WON = 100  # discriminator's turns in a row in which it tells apart at least this share of its logits
WON_ACCURACY = 0.999
USUAL = 100  # a size that so many of a role's losses in a row have becomes the usual one
UNSOUND = 30.0  # a loss is of the usual size within this multiple of the median of as many before it

RATES = {"student": "learning_rate", "critic": "critic_rate", "discriminator": "discriminator_rate"}


log = logging.getLogger(__name__)


class DeadRun(RuntimeError):
    """A role that learns nothing any more; the state from before it is on disk where one was due."""


@dataclass
class Watch:
    """Looks at every step's record. Counts start at zero when a run is resumed; `first` comes from its metrics."""

    first: dict[str, list[float]] = field(default_factory=dict)  # the first losses of each role
    last: dict[str, float] = field(default_factory=dict)
    counts: dict[tuple[str, str], int] = field(default_factory=dict)
    usual: dict[str, deque] = field(default_factory=dict)  # the recent losses of each role that were sound
    odd: dict[str, list[float]] = field(default_factory=dict)  # those since then that were not
    sound: int = 0  # the newest step whose weights gave every role a loss of the usual size
    shaken: bool = False  # the last loss was not
    idle: int = 0  # student's turns since a reward's hinge was last active

    @classmethod
    def of(cls, metrics: list[dict]) -> "Watch":
        """With the first losses of a run that goes on."""
        watch = cls()
        for record in metrics:
            watch.vouch(record)
            for role, loss in losses_of(record).items():
                watch.remember(role, loss)
        return watch

    @property
    def worried(self) -> bool:
        """Whether something looks wrong now: no good state should be written over."""
        return any(self.counts.values())

    def remember(self, role: str, loss: float) -> None:
        self.last[role] = loss
        if len(self.first.setdefault(role, [])) < FIRST:
            self.first[role].append(loss)

    def vouch(self, record: dict) -> None:
        """A step's losses are those of the weights before it: of the usual size, they say that these were sound."""
        self.shaken = any([not self.of_usual_size(role, abs(loss)) for role, loss in losses_of(record).items()])
        if not self.shaken:
            self.sound = record["step"] - 1

    def of_usual_size(self, role: str, loss: float) -> bool:
        """A loss may also settle at a new size, as SwiftBrush's does, which is 0 while the critic is the teacher."""
        usual, odd = self.usual.setdefault(role, deque(maxlen=USUAL)), self.odd.setdefault(role, [])
        limit = UNSOUND * median(usual) if usual else 0.0
        if not limit or loss <= limit:
            usual.append(loss)
            odd.clear()
            return True
        odd.append(loss)
        if len(odd) == USUAL:
            usual.extend(odd)
            odd.clear()
        return False

    @property
    def protected(self) -> int:
        """The step up to which a saved state must not be dropped: the newest that was sound, once one was not."""
        return self.sound if self.shaken else 0

    def see(self, record: dict) -> None:
        """Raises DeadRun, with a sentence, when a limit is reached."""
        self.vouch(record)
        for role, loss in losses_of(record).items():
            silent = record[f"{role}_gradient"] == 0 or loss == self.last.get(role)
            reference = self.first.get(role, [])
            exploded = len(reference) == FIRST and loss > EXPLOSION * median(reference)
            self.count(role, "silent", silent, SILENT, record)
            self.count(role, "exploded", role == "critic" and exploded, EXPLODED, record)
            self.remember(role, loss)
        if "hinge_active" in record:
            self.idle_hinge(record)
        if "discriminator_accuracy" in record:
            self.count("discriminator", "won", record["discriminator_accuracy"] >= WON_ACCURACY, WON, record)

    def idle_hinge(self, record: dict) -> None:
        """Say once that a reward's hinge has pulled at no image for a while: feedback then does nothing."""
        self.idle = 0 if record["hinge_active"] else self.idle + 1
        if self.idle == IDLE:
            log.warning("%s Raise alpha, or take this reward off.", idle_sentence(IDLE, record))

    def count(self, role: str, what: str, bad: bool, limit: int, record: dict) -> None:
        now = self.counts[role, what] = self.counts.get((role, what), 0) + 1 if bad else 0
        if now >= limit:
            raise DeadRun(sentence(role, what, limit, record))


def way_back(saved: list[int], sound: int) -> str:
    """Which saved step to go back to when the newest is spoilt: the last whose weights still gave usual losses."""
    step = max((one for one in saved if one <= sound), default=0)
    where = f"step {step}, the last saved one that was sound" if step else "step 0, its start: no saved step is sound"
    return f"If that happens again at once, the kept state is spoilt already: set resume_step to go back to {where}."


def losses_of(record: dict) -> dict[str, float]:
    """{role: its loss} of those that had their turn in this step."""
    roles = [key.removesuffix("_gradient") for key in record if key.endswith("_gradient")]
    names = {role: "loss" if role == "student" else f"{role}_loss" for role in roles}
    return {role: record[name] for role, name in names.items() if name in record}


def idle_sentence(turns: int, record: dict) -> str:
    reward = f"(mean {record['reward']:.3g})"
    return f"For {turns} turns up to step {record['step']} every image's reward {reward} was above alpha."


def sentence(role: str, what: str, limit: int, record: dict) -> str:
    step, told = record["step"], record.get("discriminator_accuracy", 0.0)
    if role == "discriminator" and (what == "won" or told >= WON_ACCURACY):
        return (
            f"The discriminator has won: for {limit} of its turns up to step {step} it told every student's picture "
            "from the target's, and the student learns nothing from it. Lower discriminator_rate or the adversarial "
            "weight; or give the student a better start (start_lora) in a run of another name."
        )
    if what == "exploded":
        return (
            f"The critic does not follow the student any more: for {limit} turns up to step {step} its loss stayed "
            f"above {EXPLOSION:g} times that of its first turns. Lower learning_rate, or raise critic_rate or "
            "student_every, so that the critic keeps up; or lower a critic_rate that is far too high."
        )
    if role == "student" and record.get("hinge_active") == 0:
        return f"The student learns nothing: {idle_sentence(limit, record)} Raise alpha of FewStep Method Feedback."
    return (
        f"The {role} is dead: for {limit} turns up to step {step} its gradient was exactly 0 or its loss did not "
        f"change by a bit. Lower {RATES.get(role, 'learning_rate')}, or take another precision."
    )
