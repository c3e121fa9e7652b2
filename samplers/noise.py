"""Step noise that the sampler owns.

The host's noise sampler gives other numbers on other versions and devices. Here the noise of a step is a pure function
of (salt, seed, timestep, picture), drawn on the CPU: split sigmas equal unsplit ones, a picture does not depend on the
size of its batch, the initial noise is never repeated, and one seed gives one image on every host and device.
"""

import hashlib

import torch
from torch import Tensor

SALT = "fewstep/step-noise/1"


def generator_for(*key) -> torch.Generator:
    """A CPU generator whose state is a hash of the key."""
    digest = hashlib.blake2b("/".join(str(part) for part in key).encode(), digest_size=8).digest()
    return torch.Generator("cpu").manual_seed(int.from_bytes(digest, "little") >> 1)


def step_noise(x: Tensor, seed: int, timestep: float, pictures: list[int] | None = None) -> Tensor:
    """Unit noise like x [b, ...] for the step that lands on `timestep`.

    pictures: the index of each picture in its batch, 0..b-1 when not given. A picture cut out of a batch keeps its
    index (the host's `batch_index`), as it keeps its initial noise.
    """
    indices = range(x.shape[0]) if pictures is None else pictures
    if len(indices) < x.shape[0]:
        raise ValueError(
            f"Step noise: {x.shape[0]} latents came with {len(indices)} picture indices. Give one for each."
        )
    noise = [
        torch.randn(x.shape[1:], generator=generator_for(SALT, seed, round(timestep), index), dtype=torch.float32)
        for index, _ in zip(indices, x)
    ]
    return torch.stack(noise).to(device=x.device, dtype=x.dtype)


def seed_of(extra_args: dict, seed: int | None) -> int:
    """The widget's seed where the user set one, else the host's, else 0."""
    if seed is not None:
        return seed
    return extra_args.get("seed") or 0
