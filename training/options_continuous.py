"""Numbers of continuous-time consistency, as options.py has those of the other methods."""

from dataclasses import dataclass

from .checks import check_fields, require


@dataclass(frozen=True, kw_only=True)
class ContinuousOptions:
    """Continuous-time consistency (Lu and Song 2024, sCM): the student's x0 stands still along the teacher's path.

    c is the paper's. Its warm-up of the tangent takes 10,000 iterations of longer runs than ours: here it is a share of
    the run. Times are uniform in timesteps, where the paper draws them log-normally for its own data, and its learnt
    weight of each time is left out. The paper differentiates exactly, in forward mode; here dF/dt is a difference over
    `step` timesteps, for networks of the host that know no forward mode and, of SD, whole timesteps only.
    """

    step: int = 10  # timesteps between the two points of the difference; 20 and more under bf16, which rounds it away
    guidance: float = 7.5  # usual guidance scale of the teacher, learnt by the student; no paper gives one for text
    warmup: float = 0.1  # share of the run over which the tangent's second part rises from 0 to 1
    normalise: bool = True  # the tangent g becomes g / (rms(g) + c)
    c: float = 0.1
    sigma_data: float = 1.0  # standard deviation of the latents in the host's scale, about 1; the paper's pixels: 0.5

    def __post_init__(self):
        require(1 <= self.step <= 500, f"step must lie in 1..500 timesteps, got {self.step}. 10 is usual.")
        require(0 <= self.warmup <= 1, f"warmup is a share of the run, 0..1, got {self.warmup}. 0.1 is usual.")
        check_fields(self, positive=("guidance", "c", "sigma_data"))
