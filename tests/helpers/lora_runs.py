"""A few real steps of every method, the student being a LoRA."""

import pytest
import torch
from fewstep.tests.helpers.in_process import PROMPTS
from fewstep.training import methods
from fewstep.training.config import TrainConfig
from fewstep.training.method import total
from fewstep.training.options import (
    ConsistencyOptions,
    DiscriminatorOptions,
    DMDOptions,
    ReconstructionOptions,
    ScoreOptions,
    SwiftBrushOptions,
    TSCDOptions,
)
from fewstep.training.options_trajectory import TrajectoryOptions

HEADS = DiscriminatorOptions(head_start=0)
JUMP = ConsistencyOptions(boundary=False, end="random", skip=100, target="ema", guidance_min=2.0, guidance_max=2.0)
METHODS = {
    "TSCD": lambda: methods.tscd(
        TSCDOptions(
            segments=(2, 1),
            phase_steps=(1, 2),
            distance=(1.0, 0.5),
            adversarial=(0.0, 0.1),
            previous_teacher=True,
            discriminator=HEADS,
            consistency=JUMP,
        )
    ),
    "ImagineFlash": lambda: methods.imagine_flash(
        ReconstructionOptions(guidance=2.0, adversarial=0.1, teacher_steps=2, discriminator=HEADS)
    ),
    "SwiftBrush": lambda: methods.swiftbrush(SwiftBrushOptions()),
    "DMD": lambda: methods.dmd(
        DMDOptions(
            score=ScoreOptions(timesteps=(999, 499), guidance=2.0),
            student_every=2,
            regression_weight=0.5,
            regression_steps=2,
        )
    ),
    "TDM": lambda: methods.tdm(TrajectoryOptions(steps=(1, 2), guidance=2.0)),
    "sum": lambda: total(
        methods.imagine_flash(ReconstructionOptions(guidance=2.0, teacher_steps=2)),
        methods.swiftbrush(SwiftBrushOptions()),
        0.1,
    ),
}


def run(tiny, folder, method, steps=3, **options):
    from fewstep.host import folders
    from fewstep.host.data import dataset
    from fewstep.host.training import run
    from fewstep.host.training.job import Job

    model, clip, vae = tiny
    spec = dataset.DataSpec(tuple(PROMPTS), None, 96, 96, 4, 2, 2.0)
    settings = {"batch_size": 2, "rank": 4, "alpha": 4.0, "learning_rate": 1e-2, "preview_every": 3, "ema_decay": 0.9}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folders, "output_folder", lambda: folder / "output")
        patch.setattr(folders, "lora_folder", lambda: folder / "loras")
        with torch.inference_mode():
            job = Job(
                model, clip, vae, spec, method, TrainConfig(steps=steps, **{**settings, **options}), "run", PROMPTS
            )
            return run.distil(job), job
