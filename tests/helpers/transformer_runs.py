"""Short trainings of small random transformers (small_models.py), and a text encoder of their widths."""

import pytest
import torch
from fewstep.tests.helpers import small_models
from fewstep.training import methods
from fewstep.training.config import TrainConfig
from fewstep.training.options import ConsistencyOptions, DMDOptions, ScoreOptions, TSCDOptions

PROMPTS = ("a red apple", "a blue car, a prompt of more tokens than the other")
FAMILIES = ("SD3", "Flux", "FLUX.2", "Qwen-Image", "Z-Image", "Wan", "Wan 2.2 5B", "Anima")
SIZE = (64, 96)  # pixels, height and width: latents of 8 x 12
LCM = ConsistencyOptions(skip=200, guidance_min=2.0, guidance_max=2.0, loss="l2")
JUMP = ConsistencyOptions(boundary=False, end="random", skip=100, guidance_min=2.0, guidance_max=2.0)
SCORE = ScoreOptions(timesteps=(999, 499), guidance=2.0)
METHODS = {
    "LCM": lambda: methods.lcm(LCM),
    "TSCD": lambda: methods.tscd(
        TSCDOptions(segments=(2,), phase_steps=(2,), distance=(1.0,), adversarial=(0.1,), consistency=JUMP)
    ),
    "DMD": lambda: methods.dmd(DMDOptions(score=SCORE, student_every=2, regression_weight=0.5, regression_steps=2)),
}


class Text:
    """A text encoder of the small models' widths, with Anima's second text. A prompt's length counts, as a long one's
    does in T5."""

    def __init__(self, alike: bool = False):
        self.alike = alike

    def tokenize(self, text):
        return text

    def encode_from_tokens_scheduled(self, tokens):
        generator = torch.Generator().manual_seed(len(tokens))
        length = 12 if self.alike or len(tokens) < 20 else 17
        hidden = torch.randn(1, length, 32, generator=generator)
        more = {
            "pooled_output": torch.randn(1, 32, generator=generator),
            "t5xxl_ids": torch.randint(32128, (length // 2,), generator=generator, dtype=torch.int),
            "t5xxl_weights": torch.rand(length // 2, generator=generator),
        }
        return [[hidden, more]]


def conditioning_of(prompt: str, **options) -> list:
    """CONDITIONING as the stock CLIPTextEncode gives it."""
    ((hidden, more),) = Text().encode_from_tokens_scheduled(prompt)
    return [[hidden, {**more, **options}]]


def made(base: str, folder):
    """A MODEL of the base; the test is skipped where this host has no such class."""
    small_models.start(folder)
    model = small_models.make(base)
    if model is None:
        pytest.skip(f"this host has no {base}")
    return model


def given_data(model, count: int = 4, frames: tuple[int, ...] = ()):
    """LATENT and CONDITIONING lists as the host's nodes give them: pictures, or clips; the guidance is Flux's."""
    from fewstep.host import architectures
    from fewstep.host.data import from_host

    channels, *_, height, width = architectures.latent_shape(model, *SIZE)
    latents = torch.randn(count, channels, *frames, height, width, generator=torch.Generator().manual_seed(5))
    return from_host.read([{"samples": latents}], [conditioning_of(PROMPTS[0], guidance=2.5)])


def run(model, folder, method, steps=2, text=None, data=None, **options):
    """(result, job, roles) of a few real steps through the function behind FewStepDistill."""
    from fewstep.host import folders
    from fewstep.host.data import dataset
    from fewstep.host.training import roles, run
    from fewstep.host.training.job import Job

    spec = dataset.DataSpec(PROMPTS, None, SIZE[1], SIZE[0], 4, 2, 2.0, host_data=data)
    settings = {"batch_size": 2, "rank": 4, "alpha": 4.0, "learning_rate": 1e-2}
    kept, make = [], roles.roles_of
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folders, "output_folder", lambda: folder / "output")
        patch.setattr(folders, "lora_folder", lambda: folder / "loras")
        patch.setattr(roles, "roles_of", lambda *a: kept.append(make(*a)) or kept[0])
        with torch.inference_mode():  # as the host runs its nodes
            config = TrainConfig(steps=steps, **{**settings, **options})
            job = Job(model, text or Text(), None, spec, method, config, folder.name, [])
            return run.distil(job), job, kept[0]


def base_of(model) -> str:
    from fewstep.host import architectures

    return architectures.of(model).base
