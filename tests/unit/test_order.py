"""Which pictures a batch is made of: pure in (seed, sample), each picture in its turn, one shape a batch."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from fewstep.tests.helpers.gaussian import Mixture, Student, examples, sd_sigmas
from fewstep.training import methods
from fewstep.training.config import TrainConfig
from fewstep.training.data import Examples, Lazy, make_batch
from fewstep.training.loop import Trainer
from fewstep.training.options import DMDOptions, ReconstructionOptions, ScoreOptions, SwiftBrushOptions
from fewstep.training.options_trajectory import TrajectoryOptions
from fewstep.training.order import Buckets, indices_of
from fewstep.training.path import Path
from fewstep.training.roles import ModuleRoles
from fewstep.training.state import RunFolder

CPU = torch.device("cpu")
SIZES = (23, 9, 5, 1)


def buckets(sizes=SIZES) -> Buckets:
    numbers = iter(range(sum(sizes)))
    groups = [[next(numbers) for _ in range(size)] for size in sizes]
    return Buckets(groups, [(2, 1, side + 1) for side in range(len(sizes))])


def bucketed(sizes=SIZES) -> Examples:
    """Latents that hold their own index, of as many shapes as there are buckets."""
    found = buckets(sizes)
    shape = {i: shape for group, shape in zip(found.groups, found.shapes) for i in group}
    count = sum(sizes)
    label = Lazy(count, lambda i: {"label": torch.tensor([[i]])})
    latents = Lazy(count, lambda i: torch.full(shape[i], float(i)))
    return Examples(latents, range(count), label, Lazy(count, lambda i: {"label": torch.tensor([[-i]])}), buckets=found)


@pytest.mark.parametrize("batch", [1, 4, 12])
def test_every_batch_is_full_of_one_bucket_and_every_picture_has_its_turn(batch):
    found = buckets()
    owner = {i: number for number, group in enumerate(found.groups) for i in group}
    epochs, seen, stream = 24, Counter(), {number: [] for number in range(len(SIZES))}
    total = sum(found.had(epochs, batch))
    for number in range(total):
        _, chosen = found.pick(3, number * batch, batch, batch)
        assert len(chosen) == batch and len({owner[i] for i in chosen}) == 1
        stream[owner[chosen[0]]] += chosen
        seen.update(chosen)
    for number, size in enumerate(SIZES):
        shown = stream[number]
        assert epochs * size - batch < len(shown) <= epochs * size  # no bucket is ahead, none a batch behind
        for epoch in range(len(shown) // size):  # every picture once in each epoch of its bucket
            assert sorted(shown[epoch * size : (epoch + 1) * size]) == list(found.groups[number])
    assert set(seen) == set(range(sum(SIZES)))


def test_buckets_take_turns_instead_of_coming_in_blocks():
    found = buckets((400, 400))
    first = [int(found.pick(0, 8 * number, 8, 8)[1][0] >= 400) for number in range(100)]
    assert 40 <= sum(first) <= 60 and sum(a != b for a, b in zip(first, first[1:])) > 25


def test_one_bucket_is_the_plain_order():
    found = Buckets((range(10),), ((2, 1, 1),))
    assert found.pick(5, 7, 6, 6)[1] == indices_of(5, 7, 6, 10)


def test_a_batch_in_buckets_does_not_depend_on_how_many_processes_share_it():
    """Nor on what was asked before: a resumed run goes on with the same pictures."""
    data = bucketed()
    for start in (96, 0, 48):
        whole = make_batch(data, 7, start, 12, CPU)
        parts = [make_batch(data, 7, start + first, 4, CPU, whole=12) for first in (8, 0, 4)]
        parts = [parts[1], parts[2], parts[0]]
        for name in ("latents", "noise", "uniform"):
            assert torch.equal(getattr(whole, name), torch.cat([getattr(part, name) for part in parts]))
        assert torch.equal(whole.cond["label"], torch.cat([part.cond["label"] for part in parts]))
        assert torch.equal(whole.uncond["label"], -whole.cond["label"])
        assert whole.fresh("more").shape == whole.latents.shape
        assert torch.equal(whole.latents[:, 0, 0, 0].long(), whole.cond["label"][:, 0])
    with pytest.raises(ValueError, match="several batches"):
        make_batch(data, 7, 8, 8, CPU, whole=12)


def test_another_seed_is_another_order():
    assert buckets().pick(0, 0, 12, 12)[1] != buckets().pick(1, 0, 12, 12)[1]


def test_a_resumed_run_in_buckets_equals_an_unbroken_one(tmp_path):
    def run(folder, steps):
        torch.manual_seed(0)
        student = torch.nn.Conv2d(2, 2, 1)
        roles = ModuleRoles({"teacher": lambda y, s, c: y, "student": lambda y, s, c: student(y), "critic": student})
        roles.parameters = lambda role: dict(student.named_parameters())
        config = TrainConfig(steps=steps, batch_size=4, accumulate=2, learning_rate=1e-2)
        method = methods.lcf(methods.ConsistencyOptions(skip=200))
        Trainer(config, method, roles, Path(sd_sigmas()), bucketed(), RunFolder(folder), CPU).run()
        return student.weight.detach().clone()

    whole = run(tmp_path / "whole", 6)
    run(tmp_path / "cut", 3)
    assert torch.equal(run(tmp_path / "cut", 6), whole)


def untouchable(data: Examples) -> Examples:
    """The same data without pictures: whoever asks the batch for x0 is refused."""
    return replace(data, latents=None, shape=(2, 1, 1), buckets=None)


SCORE = ScoreOptions(timesteps=(999,), guidance=1.0, critic_guidance=1.0)
WITHOUT_PICTURES = {
    "ImagineFlash": methods.imagine_flash(ReconstructionOptions(guidance=1.0, teacher_steps=1)),
    "SwiftBrush": methods.swiftbrush(SwiftBrushOptions(score=SCORE, student_every=1)),
    "DMD": methods.dmd(DMDOptions(score=SCORE, student_every=1)),
    "TDM": methods.tdm(TrajectoryOptions(steps=(1, 2))),
}


@pytest.mark.parametrize("name", WITHOUT_PICTURES)
def test_backward_distillation_never_sees_a_picture(name, tmp_path):
    """Equal weights with pictures in the batch, with other pictures, and with none at all."""

    def run(folder, data):
        torch.manual_seed(0)
        path = Path(sd_sigmas())
        roles = {role: Student(Mixture(), path) for role in ("student", "critic", "target")}
        config = TrainConfig(steps=3, batch_size=8, learning_rate=1e-3)
        roles = ModuleRoles({"teacher": Mixture(), **roles})
        Trainer(config, WITHOUT_PICTURES[name], roles, path, data, RunFolder(folder), CPU).run()
        return torch.cat([p.detach().flatten() for p in roles.parameters("student").values()])

    assert not WITHOUT_PICTURES[name].images
    data = examples(64)
    none = run(tmp_path / "none", untouchable(data))
    assert torch.equal(run(tmp_path / "some", data), none)
    assert torch.equal(run(tmp_path / "other", replace(data, latents=data.latents * 9)), none)


def test_a_method_that_needs_pictures_says_so(tmp_path):
    roles = ModuleRoles({"teacher": Mixture(), "student": Student(Mixture(), Path(sd_sigmas())), "target": None})
    method = methods.lcm(methods.ConsistencyOptions(skip=200))
    run = Trainer(
        TrainConfig(steps=1), method, roles, Path(sd_sigmas()), untouchable(examples(64)), RunFolder(tmp_path), CPU
    )
    with pytest.raises(ValueError, match="trains on pictures, but the data has prompts alone"):
        run.run()
