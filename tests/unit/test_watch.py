"""Runs that are dead stop with a sentence, and what was good before is kept and goes on."""

import copy
import json
from dataclasses import replace

import pytest
import torch
from fewstep.tests.helpers.gaussian import Mixture, Student, examples, sd_sigmas
from fewstep.training import methods, watchdog
from fewstep.training.adversarial import Discriminator, FakeAndReal, discriminate
from fewstep.training.config import TrainConfig
from fewstep.training.consistency import consistency, consistency_pair
from fewstep.training.loop import NonFiniteLoss, Trainer
from fewstep.training.method import Method, Term, Turn
from fewstep.training.options import ConsistencyOptions, RoleOptions, ScoreOptions, SwiftBrushOptions
from fewstep.training.path import Path
from fewstep.training.roles import ModuleRoles
from fewstep.training.state import RunFolder

CPU = torch.device("cpu")
PATH = Path(sd_sigmas())
SCORE = ScoreOptions(weight="vsd", guidance=1.0)
LORA = replace(SwiftBrushOptions().critic, rate=1e-3)


def fresh_student() -> Student:
    torch.manual_seed(0)
    return Student(Mixture(), PATH)


def trainer(folder, method, roles, steps: int, **settings) -> Trainer:
    settings = {"batch_size": 32, "learning_rate": 1e-3, "save_every": 10, **settings}
    return Trainer(TrainConfig(steps=steps, **settings), method, roles, PATH, examples(64), RunFolder(folder), CPU)


class Dying(Student):
    """A critic whose last activation dies after some passes with a gradient: nothing behind it moves any more."""

    passes, dies_at = 0, 1 << 30

    def forward(self, y, sigma, cond):
        self.passes += torch.is_grad_enabled()
        x0 = super().forward(y, sigma, cond)
        return torch.relu(x0 - 1e9) if self.passes > self.dies_at else x0


def score_roles(dies_at: int) -> ModuleRoles:
    torch.manual_seed(0)
    critic = Dying(Mixture(), PATH)
    critic.dies_at = dies_at
    return ModuleRoles({"teacher": Mixture(), "student": fresh_student(), "critic": critic})


def test_a_dead_critic_stops_the_run_and_the_state_before_goes_on(tmp_path):
    """From its 13th turn on the critic's gradient is 0: the state of step 10 is kept, and none of a dead step."""
    method = methods.swiftbrush(SwiftBrushOptions(score=SCORE, student_every=1, critic=replace(LORA, rate=1e-4)))
    with pytest.raises(
        watchdog.DeadRun, match="critic is dead: for 20 turns up to step 32.*critic_rate.*step 10 is kept"
    ):
        trainer(tmp_path, method, score_roles(dies_at=12), 100).run()
    assert [file.name for file in RunFolder(tmp_path).states()] == ["state-10.safetensors"]
    other = methods.swiftbrush(SwiftBrushOptions(score=SCORE, student_every=1, critic=replace(LORA, rate=2e-3)))
    trainer(tmp_path, other, score_roles(dies_at=1 << 30), 45).run()
    assert [record["step"] for record in RunFolder(tmp_path).metrics()] == list(range(1, 46))


def test_a_critic_that_does_not_follow_stops_the_run(tmp_path):
    """Too slow a critic: the student runs away from it, and the losses are hundreds of times the first ones."""
    options = {"score": SCORE, "student_every": 1}
    trainer(
        tmp_path,
        methods.swiftbrush(SwiftBrushOptions(**options, critic=replace(LORA, rate=1e-4))),
        score_roles(1 << 30),
        22,
    ).run()
    changed = methods.swiftbrush(SwiftBrushOptions(**options, critic=replace(LORA, rate=1e-5)))
    with pytest.raises(watchdog.DeadRun, match="does not follow.*100 times.*raise critic_rate or student_every"):
        trainer(tmp_path, changed, score_roles(1 << 30), 100).run()
    folder = RunFolder(tmp_path)
    stopped, kept = folder.metrics()[-1]["step"], folder.load()[0]
    assert kept <= stopped - watchdog.EXPLODED
    rescued = methods.swiftbrush(SwiftBrushOptions(score=SCORE, student_every=4, critic=replace(LORA, rate=1e-3)))
    trainer(tmp_path, rescued, score_roles(1 << 30), kept + 9).run()
    assert sum("loss" in record for record in folder.metrics()[kept:]) in (2, 3)  # one student's turn in four


def test_a_critic_that_is_not_a_number_is_named(tmp_path):
    roles = score_roles(1 << 30)
    roles.denoisers["critic"].net[-1].bias.data.fill_(float("nan"))
    method = methods.swiftbrush(SwiftBrushOptions(score=SCORE, student_every=5))
    with pytest.raises(NonFiniteLoss, match="gradient norm became nan|loss became nan"):
        trainer(tmp_path, method, roles, 5).run()
    critic_first = Method("x", SCORE, method.turns[1:], "lcm", "trailing")
    with pytest.raises(NonFiniteLoss, match="critic's loss became nan.*lower critic_rate"):
        trainer(tmp_path / "critic", critic_first, roles, 5).run()


class Far(Student):
    """A student whose points lie far from all pictures: any discriminator tells them at once."""

    def forward(self, y, sigma, cond):
        return super().forward(y, sigma, cond) + 30


def adversarial_method(options: ConsistencyOptions) -> Method:
    turns = (
        Turn("student", (Term(consistency, options),)),
        Turn("discriminator", (Term(discriminate, FakeAndReal(consistency_pair, options, 10)),)),
    )
    return Method("GAN", options, turns, "tcd", "lcm", roles_options=(("discriminator", RoleOptions(rate=1e-2)),))


def test_a_discriminator_that_wins_outright_stops_the_run(tmp_path):
    settings = {"skip": 20, "guidance_min": 1.0, "guidance_max": 1.0, "boundary": False, "target": "ema"}
    options = ConsistencyOptions(**settings, adversarial=0.1)
    torch.manual_seed(0)
    target = fresh_student()
    roles = ModuleRoles(
        {"teacher": Mixture(), "student": Far(Mixture(), PATH), "target": target}, Discriminator([2], 16)
    )
    run = trainer(tmp_path, adversarial_method(options), roles, 400, learning_rate=1e-9)
    with pytest.raises(watchdog.DeadRun, match="discriminator has won.*Lower discriminator_rate or the adversarial"):
        run.run()
    told = [record["discriminator_accuracy"] for record in RunFolder(tmp_path).metrics()]
    assert told[-1] == 1 and len(told) < 400
    step, kept = RunFolder(tmp_path).load()
    assert step < len(told) and all(torch.isfinite(tensor).all() for tensor in kept.values())
    with pytest.raises(ValueError, match=r"other settings: adversarial \(0.1 -> 0.0\)"):
        trainer(tmp_path, adversarial_method(ConsistencyOptions(**settings)), roles, step + 5).run()
    gentler = adversarial_method(ConsistencyOptions(**settings, adversarial=0.01))
    trainer(tmp_path, gentler, roles, step + 5, learning_rate=1e-9).run()
    assert RunFolder(tmp_path).load()[0] == step + 5


def test_a_healthy_adversarial_run_is_left_alone(tmp_path):
    options = ConsistencyOptions(
        skip=100, guidance_min=1.0, guidance_max=1.0, boundary=False, end="random", target="ema", adversarial=0.1
    )
    student = fresh_student()
    roles = ModuleRoles(
        {"teacher": Mixture(), "student": student, "target": copy.deepcopy(student)}, Discriminator([2], 16, 32)
    )
    trainer(tmp_path, adversarial_method(options), roles, 120, ema_decay=0.9).run()
    assert RunFolder(tmp_path).states()[-1].name == "state-120.safetensors"


def records(**series) -> list[dict]:
    return [dict(zip(series, values), step=n + 1) for n, values in enumerate(zip(*series.values()))]


def test_single_silent_turns_do_not_stop_a_run():
    """SwiftBrush's first student turn has gradient 0, and a discriminator may be right for a while."""
    losses = [float(n) for n in range(1000)]
    gradients = [0.0 if n % 20 else 1.0 for n in range(1000)]
    told = [1.0 if n % 100 else 0.9 for n in range(1000)]
    seen = watchdog.Watch()
    for record in records(loss=losses, student_gradient=gradients, discriminator_accuracy=told):
        seen.see(record)


def test_one_and_the_same_loss_is_no_learning():
    seen = watchdog.Watch()
    with pytest.raises(watchdog.DeadRun, match="student is dead.*learning_rate"):
        for record in records(loss=[0.5] * 30, student_gradient=[1.0] * 30):
            seen.see(record)


def test_a_watch_knows_the_first_losses_of_a_run_that_goes_on():
    found = watchdog.Watch.of(json.loads(json.dumps(records(critic_loss=[1.0] * 40, critic_gradient=[1.0] * 40))))
    assert found.first == {"critic": [1.0] * watchdog.FIRST} and not found.worried
