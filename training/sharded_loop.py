"""The loop over networks that lie in parts on several processes: all of them take part in each step and in each save.

The first process leads: before a step, before a state and at the end it tells the others which it is. It looks for a
cancel between two steps, where no other is waiting for it.
"""

import logging
from dataclasses import dataclass

from torch import Tensor

from . import sharding
from .batch import Batch
from .loop import NonFiniteLoss, Trainer
from .method import Turn

STEP, SAVE, END = range(3)
log = logging.getLogger(__name__)


@dataclass
class ShardedTrainer(Trainer):
    """A Trainer whose trained roles are parted (training/sharding.py). Only whole tensors go into states and files."""

    def __post_init__(self):
        super().__post_init__()
        self.between, self.on_micro = self.on_micro, lambda: None
        self.broken = True  # the processes are not at one place: before the start, and inside a step that did not end

    def resume(self) -> None:
        super().resume()
        self.broken = False

    def accumulate(self, turn: Turn, batch: Batch) -> dict[str, Tensor]:
        batch.longest = sharding.longest
        return super().accumulate(turn, batch)

    def clip(self, parameters: list[Tensor]) -> Tensor:
        return sharding.clip(parameters, self.config.clip)

    def tell(self, what: int) -> None:
        self.processes.from_first(what, {})

    def follow(self) -> None:
        while (told := self.processes.from_first(END, {})[0]) != END:
            if told == SAVE:
                for _ in self.packed():  # its part of each tensor, which the first alone keeps
                    pass
                continue
            self.between()
            try:
                super().train_step()
                self.step += 1
            except NonFiniteLoss:  # of the mean: every process raises it here, and the first says it
                continue

    def run(self) -> None:
        try:
            super().run()
        finally:
            if self.processes.first and not self.broken:
                self.tell(END)

    def train_step(self) -> dict:
        self.between()
        self.broken = True
        self.tell(STEP)
        try:
            record = super().train_step()
        except NonFiniteLoss:
            self.broken = False
            raise
        self.broken = False
        return record

    def save(self, protected: int = 0) -> int:
        if self.broken:
            log.warning("Step %d ended in the middle; its weights lie in parts and cannot be saved.", self.step + 1)
            return self.step
        self.tell(SAVE)
        return super().save(protected)
