"""Every sampler of the pack by name: its function, the schedule its students are trained on, and what it takes.

One table for all who ask: the nodes, the stock KSampler's lists, the loaders of published files, training's previews.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from .ddim import sample_ddim
from .imagine_flash import sample_imagine_flash
from .lcm import sample_lcm
from .schedule import SCHEDULES
from .tcd import sample_tcd


class Sampler(NamedTuple):
    """function: in k-diffusion's signature; schedule: a name of SCHEDULES; options: the function's keywords."""

    function: Callable
    schedule: str
    options: tuple[str, ...] = ()

    @property
    def noisy(self) -> bool:
        """Whether its steps draw noise of their own."""
        return "seed" in self.options

    def keywords(self, eta: float, seed: int | None, pictures: list[int] | None = None) -> dict:
        """The settings that the function takes. seed None: the host's."""
        values = {"eta": eta, "seed": seed, "pictures": pictures}
        return {name: values[name] for name in self.options}


NOISE = ("seed", "pictures")
SAMPLERS = {
    "lcm": Sampler(sample_lcm, "lcm", NOISE),
    "tcd": Sampler(sample_tcd, "lcm", (*NOISE, "eta")),
    "ddim": Sampler(sample_ddim, "trailing"),
    "imagine_flash": Sampler(sample_imagine_flash, "trailing"),
}


def timesteps_for(schedule: str, steps: int, denoise: float = 1.0, own: Iterable[Sequence[int]] = ()) -> list[int]:
    """Where a student is asked in `steps` steps: a list of its own of that length, else its schedule's.

    own: lists that a method or a file brings along. They start from pure noise, so image to image takes the schedule's.
    """
    listed = next((list(timesteps) for timesteps in own if len(timesteps) == steps), None)
    return listed if listed and denoise == 1 else SCHEDULES[schedule](steps, denoise)
