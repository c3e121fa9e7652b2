"""Stock configurations: candidates for the best sampler of the undistilled base at each number of passes."""

from .sample import Row

SCREEN_N, FULL_N = 400, 2000
KEPT = 2  # rows of each number of passes that are measured in full


def each(samplers: str, schedulers: str, steps: int, *cfgs: float) -> list[Row]:
    """Return every combination of samplers and schedulers (names split by blanks) and guidance scales."""
    return [Row(a, steps, cfg, b) for a in samplers.split() for b in schedulers.split() for cfg in cfgs]


# network passes (a step with guidance is two): rows
CANDIDATES: dict[int, list[Row]] = {
    1: each("ddim", "sgm_uniform", 1, 1.0) + each("dpmpp_2m", "karras", 1, 1.0),  # others equal one of these
    2: each("ddim dpmpp_2m", "sgm_uniform simple karras normal beta", 2, 1.0)
    + each("uni_pc", "sgm_uniform simple karras normal exponential", 2, 1.0)
    + each("uni_pc_bh2", "karras exponential", 2, 1.0)
    + each("lcm", "sgm_uniform karras", 2, 1.0)
    + each("ddim", "sgm_uniform", 1, 1.5, 2.0),
    4: each("ddim dpmpp_2m", "sgm_uniform simple karras normal beta", 4, 1.0)
    + each("uni_pc", "sgm_uniform simple karras normal exponential", 4, 1.0)
    + each("uni_pc_bh2", "karras", 4, 1.0)
    + each("lcm", "sgm_uniform karras", 4, 1.0)
    + each("lms ipndm deis", "sgm_uniform", 4, 1.0)
    + each("ddim dpmpp_2m", "sgm_uniform", 2, 1.5, 2.0)
    + each("uni_pc", "karras", 2, 1.5, 2.0)
    + each("dpmpp_2m", "karras", 2, 1.5)
    + each("heun", "sgm_uniform", 2, 1.0),
    8: each("uni_pc", "karras", 4, 1.5, 2.0)
    + each("uni_pc dpmpp_2m", "karras", 8, 1.0)
    + each("ddim dpmpp_2m", "sgm_uniform", 4, 2.0)
    + each("dpmpp_2m", "karras", 4, 2.0)
    + each("dpmpp_2m", "sgm_uniform", 4, 1.5)
    + each("ddim dpmpp_2m", "sgm_uniform", 8, 1.0),
    50: each("dpmpp_2m", "karras", 25, 2.0, 2.5),
}
