"""The same iteration by this pack's trainer: one network, cached latents and texts, the guided teacher in one pass."""

import tempfile
from pathlib import Path

import torch


class Ours:
    """side: of the pictures in pixels; batch 1. iteration() is one optimizer step and returns its loss."""

    def __init__(self, side: int, rank: int):
        from fewstep.benchmarks.networks import SIZES, model
        from fewstep.host import model_copy
        from fewstep.host.training import layers
        from fewstep.training import methods
        from fewstep.training.config import TrainConfig
        from fewstep.training.data import Examples
        from fewstep.training.loop import Trainer
        from fewstep.training.options import ConsistencyOptions
        from fewstep.training.path import Path as NoisePath
        from fewstep.training.roles import LoraRoles, equal_adapters
        from fewstep.training.state import RunFolder

        self.mode = model_copy.training_mode
        host = model(SIZES["SD1.5"], torch.float32)
        with self.mode():
            copy = model_copy.TrainingCopy(host)
            targets = layers.chosen(host, "all")
            del host
            method = methods.lcm(ConsistencyOptions(guidance_min=6.0, guidance_max=16.0))
            roles = LoraRoles(copy.net, copy.denoise, equal_adapters(targets, rank, float(rank)))
            latents = torch.randn(1, 4, side // 8, side // 8)
            text, empty = ({"c_crossattn": torch.randn(1, 77, 768)} for _ in range(2))
            self.trainer = Trainer(
                TrainConfig(steps=10**6, batch_size=1, rank=rank, learning_rate=1e-6),
                method, roles, NoisePath(copy.sigmas()), Examples(latents, [0], [text], empty),
                RunFolder(Path(tempfile.mkdtemp())), torch.device("cpu"),
            )  # fmt: skip

    def iteration(self) -> float:
        with self.mode():
            record = self.trainer.train_step()
        self.trainer.step += 1
        return record["loss"]
