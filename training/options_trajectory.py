"""Numbers of trajectory distribution matching, as options.py has those of the other methods."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from .checks import check_fields, require
from .options import RoleOptions

MOMENTUM = (0.0, 0.95)  # Adam's in the authors' code, of both networks


@dataclass(frozen=True, kw_only=True)
class TrajectoryOptions:
    """Trajectory distribution matching (Luo et al. 2025, TDM): the student's every step is matched in its own levels.

    Values are those of the authors' published training of PixArt (github.com/Luo-Yihong/TDM, its README's command),
    where nothing else is said. It trains whole weights, the student at 4e-6 and the critic at 2e-5; here both are
    LoRAs, whose rates keep that ratio. It has four steps alone, where the paper's objective knows several numbers of
    them. The host's networks cannot be told the number: with several in `steps` one answer at the top serves them all.
    """

    steps: tuple[int, ...] = (4,)  # numbers of steps it is trained for; each sample draws one
    top: int = 900  # K steps start at top - 1 and lie top / K apart: 899, 674, 449, 224
    levels: Literal["segment", "above"] = "segment"  # of a step from t to s: s..t, or s..top, which steps share
    t_min: int = 20  # no level below
    margin: int = 10  # timesteps between the highest level and the upper end
    guidance: float = 4.5  # of the teacher, learnt by the student
    weight: Literal["dmd", "vsd"] = "dmd"  # of the score difference: see score.score_weight
    loss: Literal["huber", "l2"] = "huber"
    huber_c: float = 0.001
    importance: bool = True  # the critic's samples are weighted by how likely the noise on them is
    snr_most: float = 5.0  # the critic's x0 error is weighted by min(a^2 / s^2, this): Min-SNR (Hang et al. 2023)
    student_every: int = 1  # critic turns per student turn
    critic_head_start: int = 0  # its turns before the student's first
    student: RoleOptions = RoleOptions(rate=2e-5, betas=MOMENTUM)
    critic: RoleOptions = RoleOptions(rate=1e-4, betas=MOMENTUM)

    def __post_init__(self):
        check_fields(self, counts=("student_every", "margin"), positive=("guidance", "huber_c", "snr_most"))
        require(self.critic_head_start >= 0, f"critic_head_start must not be negative, got {self.critic_head_start}.")
        require(0 <= self.t_min <= 500, f"t_min must lie in 0..500, got {self.t_min}. 20 is usual.")
        require(100 <= self.top <= 1000, f"top must lie in 100..1000 timesteps, got {self.top}. 900 is the authors'.")
        require(bool(self.steps) and min(self.steps) >= 1, f"steps need numbers from 1 up, got {list(self.steps)}.")
        rises = all(a < b for a, b in pairwise(self.steps))
        require(rises, f"steps must rise, as 1, 2, 4; got {list(self.steps)}.")
        shortest, least = self.top // self.steps[-1], self.t_min + self.margin
        so = f"{self.steps[-1]} steps from {self.top} are {shortest} timesteps long, which leaves the last no level"
        require(shortest > least, f"{so}: they must be longer than t_min + margin = {least}. Take fewer steps.")

    def timesteps(self, count: int) -> tuple[int, ...]:
        """Where a student of so many steps is asked."""
        return tuple(self.top - n * self.top // count - 1 for n in range(count))

    def lists(self) -> tuple[tuple[int, ...], ...]:
        """Timesteps for 1, 2, ... steps: those it is trained for, or some of the longest list's."""
        longest = self.timesteps(self.steps[-1])
        some = (tuple(longest[n * len(longest) // count] for n in range(count)) for count in range(1, len(longest) + 1))
        return tuple(self.timesteps(len(part)) if len(part) in self.steps else part for part in some)
