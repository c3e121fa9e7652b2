"""Distillation proved: the exact teacher, coincidences, the traps of adapters on one base, exact resuming."""

import copy
import json
import pathlib
from functools import partial

import pytest
import torch
from fewstep.samplers import schedule
from fewstep.samplers.ddim import sample_ddim
from fewstep.samplers.lcm import sample_lcm
from fewstep.tests.helpers.fake_host import DiscreteSampling, Model
from fewstep.tests.helpers.gaussian import Mixture, Student, examples, sd_sigmas, sliced_w2
from fewstep.tests.helpers.trainers import CPU, OPTIONS, PATH, lora_roles, some_batch, trainer, weights_of
from fewstep.training import roles as role_module
from fewstep.training import teacher
from fewstep.training.config import TrainConfig
from fewstep.training.consistency import consistency, jump
from fewstep.training.data import make_batch
from fewstep.training.loop import NonFiniteLoss, Trainer
from fewstep.training.method import Method, Term, Turn
from fewstep.training.methods import imagine_flash, lcm
from fewstep.training.options import ConsistencyOptions, ReconstructionOptions
from fewstep.training.order import indices_of
from fewstep.training.path import Path
from fewstep.training.roles import LoraRoles, ModuleRoles
from fewstep.training.state import RunFolder

# --- exact teacher ---------------------------------------------------------------------------------------------------


def few_step_error(denoiser, sampler, steps: int, count: int = 2000) -> float:
    """Sliced W2 between the sampler's points and the data, mean of the two classes."""
    errors = []
    for label in (0, 1):
        labels = torch.full((count,), label)
        model = Model(denoiser, DiscreteSampling(), {"label": labels.view(-1, 1)})
        sigmas = schedule.sigmas_of(model.model_sampling, schedule.lcm_timesteps(steps))
        noise = torch.randn((count, 2, 1, 1), generator=torch.Generator().manual_seed(label))
        with torch.no_grad():
            made = sampler(model, noise * (1 + sigmas[0] ** 2).sqrt(), sigmas, {"seed": 0})
        real = Mixture().sample_data(labels, torch.Generator().manual_seed(9))
        errors.append(sliced_w2(made.flatten(1), real.flatten(1)))
    return sum(errors) / 2


def test_lcm_beats_the_undistilled_sampler_at_every_step_count(tmp_path):
    """An exact teacher, a student that starts as that teacher: LCM must lower the error of 1, 2 and 4 steps."""
    torch.manual_seed(0)
    teacher, student = Mixture(), Student(Mixture(), PATH)
    roles = ModuleRoles({"teacher": teacher, "student": student, "target": copy.deepcopy(student)})
    config = TrainConfig(steps=300, batch_size=128, learning_rate=4e-3, decay="cosine", ema_decay=0.9, save_every=1000)
    method = lcm(ConsistencyOptions(skip=240, solver_steps=6, loss="l2", target="ema", **OPTIONS))
    Trainer(config, method, roles, PATH, examples(), RunFolder(tmp_path), CPU).run()
    made = roles.denoisers["target"]
    for steps, share in ((1, 0.5), (2, 0.6), (4, 0.8)):
        before = min(few_step_error(teacher, sampler, steps) for sampler in (sample_ddim, sample_lcm))
        after = few_step_error(made, sample_lcm, steps)
        assert after < share * before, f"{steps} steps: {before:.3f} -> {after:.3f}"


# --- coincidences ----------------------------------------------------------------------------------------------------


def test_moving_nowhere_changes_nothing_and_moving_to_the_end_gives_x0():
    batch = some_batch()
    t = torch.randint(0, 1000, (16,))
    y = PATH.noise(batch.x0, batch.noise, t)
    assert torch.allclose(PATH.move(y, batch.x0, t, t), y, rtol=1e-5, atol=1e-5)
    assert torch.allclose(PATH.move(y, batch.x0, t, torch.full_like(t, -1)), batch.x0)


@pytest.mark.parametrize("flow", [False, True])
def test_a_perfect_straight_teacher_gives_zero_loss(flow):
    """If every point of a trajectory denoises to the same x0, the student that knows it has nothing to learn."""
    sigmas = torch.linspace(0.001, 1, 1000) if flow else sd_sigmas()
    batch = some_batch()
    known = ModuleRoles({"teacher": lambda y, sigma, cond: batch.x0, "student": lambda y, sigma, cond: batch.x0})
    loss, _ = consistency(known, Path(sigmas, flow), batch, ConsistencyOptions(boundary=False, **OPTIONS))
    assert loss.item() < 1e-5


def test_the_target_is_the_students_own_and_moves_with_it():
    """Not the teacher's x0: a student that is wrong everywhere in the same way is consistent with itself."""
    batch = some_batch()
    teacher = Mixture()

    def loss_of(offset: float) -> float:
        shifted = ModuleRoles(
            {"teacher": teacher, "student": lambda y, sigma, cond: torch.full_like(y, offset), "target": teacher}
        )
        return consistency(shifted, PATH, batch, ConsistencyOptions(skip=200, boundary=False, **OPTIONS))[0].item()

    assert loss_of(0.0) == pytest.approx(0.0, abs=1e-6) and loss_of(5.0) == pytest.approx(0.0, abs=1e-6)
    ema = ModuleRoles({"teacher": teacher, "student": lambda y, sigma, cond: torch.zeros_like(y), "target": teacher})
    assert consistency(ema, PATH, batch, ConsistencyOptions(target="ema", boundary=False, **OPTIONS))[0] > 0.1


def test_the_boundary_condition_holds_at_time_zero():
    """f(x_0, 0) = x_0 whatever the network says."""
    y = torch.randn(4, 2, 1, 1)
    wild = ModuleRoles({"student": lambda y, sigma, cond: y * 100})
    zero = torch.zeros(4, dtype=torch.long)
    f = jump(wild, "student", PATH, y, zero, zero - 1, None, ConsistencyOptions())
    assert torch.allclose(f, PATH.paper_x(y, zero))


def test_eps_and_v_wrappings_of_one_net_give_one_loss():
    """The term sees x0 alone, so how the network speaks does not matter."""

    def x0_of(y, sigma, cond):
        return torch.tanh(y / (1 + sigma.view(-1, 1, 1, 1)))

    def through_eps(y, sigma, cond):
        s = sigma.view(-1, 1, 1, 1)
        eps = (y - x0_of(y, sigma, cond)) / s
        return y - s * eps

    def through_v(y, sigma, cond):
        s = sigma.view(-1, 1, 1, 1)
        a, b = 1 / (1 + s**2).sqrt(), s / (1 + s**2).sqrt()
        x0 = x0_of(y, sigma, cond)
        v = a * (y - x0) / s - b * x0
        return a * (a * y) - b * v

    losses = [
        consistency(ModuleRoles({"teacher": f, "student": f}), PATH, some_batch(), ConsistencyOptions(**OPTIONS))[0]
        for f in (x0_of, through_eps, through_v)
    ]
    assert torch.allclose(torch.stack(losses), losses[0].expand(3), rtol=1e-3)


def test_guidance_is_the_usual_formula_and_one_is_one_pass():
    calls = []

    def denoise(y, sigma, cond):
        calls.append(len(y))
        return cond["label"].view(-1, 1, 1, 1).expand_as(y).float()

    batch = some_batch(4)
    roles = ModuleRoles({"teacher": denoise})
    sigma = torch.ones(4)
    guided = partial(teacher.guided, roles, "teacher", batch.x0, sigma, batch)
    expected = -1 + 3.0 * (batch.cond["label"].view(-1, 1, 1, 1) + 1)
    assert torch.allclose(guided(torch.full((4,), 3.0)), expected.expand_as(batch.x0).float())
    guided(1.0)
    assert calls == [8, 4]


# --- adapters on one base --------------------------------------------------------------------------------------------


def wake(roles: LoraRoles, role: str, seed: int) -> None:
    """Give a role a delta: fresh adapters are zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in roles.parameters(role).values():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)


def test_a_fresh_adapter_is_the_teacher_and_a_trained_one_is_not():
    roles, batch = lora_roles(), some_batch(4)
    ask = partial(roles, y=batch.x0, sigma=torch.ones(4), cond=None)
    assert torch.equal(ask("student"), ask("teacher"))
    wake(roles, "student", 1)
    assert not torch.allclose(ask("student"), ask("teacher"))


@pytest.mark.parametrize("checkpointed", [False, True])
def test_calling_another_role_before_backward_keeps_the_students_gradient(checkpointed, device):
    """Traps 1 and 2: peft's set_adapter drops it silently, recomputation runs under the wrong role."""

    def gradient(interrupted: bool):
        roles, batch = lora_roles(("student", "critic"), checkpointed, device), some_batch(4, device=device)
        wake(roles, "student", 1)
        wake(roles, "critic", 2)
        loss = roles("student", batch.x0, torch.ones(4, device=device), None).square().mean()
        if interrupted:
            with torch.no_grad():
                roles("critic", batch.x0, torch.ones(4, device=device), None)
                roles("teacher", batch.x0, torch.ones(4, device=device), None)
        loss.backward()
        assert all(p.grad is None for p in roles.parameters("critic").values())
        return [p.grad.clone() for p in roles.parameters("student").values()]

    plain, switched = gradient(False), gradient(True)
    assert all(torch.equal(a, b) for a, b in zip(plain, switched))
    assert all(g.abs().sum() > 0 for g in switched)


def test_checkpointing_gives_the_same_gradient(device):
    def gradient(checkpointed):
        roles, batch = lora_roles(("student",), checkpointed, device), some_batch(4, device=device)
        wake(roles, "student", 1)
        roles("student", batch.x0, torch.ones(4, device=device), None).square().mean().backward()
        return [p.grad for p in roles.parameters("student").values()]

    assert all(torch.allclose(a, b) for a, b in zip(gradient(False), gradient(True)))


def test_the_average_follows_the_student():
    roles = lora_roles()
    wake(roles, "student", 1)
    before = {k: v.clone() for k, v in roles.parameters("target").items()}
    role_module.update_average(roles.parameters("target"), roles.parameters("student"), 0.75)
    for key, value in roles.parameters("target").items():
        assert torch.allclose(value, 0.75 * before[key] + 0.25 * roles.parameters("student")[key])


# --- runs ------------------------------------------------------------------------------------------------------------


def test_training_leaves_the_teacher_bit_identical(tmp_path, device):
    run, batch = trainer(tmp_path, 6, device=device), some_batch(4, device=device)
    before = run.roles("teacher", batch.x0, torch.ones(4, device=device), None).clone()
    run.run()
    assert torch.equal(run.roles("teacher", batch.x0, torch.ones(4, device=device), None), before)
    assert not torch.allclose(run.roles("student", batch.x0, torch.ones(4, device=device), None), before)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_stop_and_resume_equals_never_having_stopped(tmp_path, accumulate, device):
    whole = trainer(tmp_path / "whole", 10, accumulate=accumulate, device=device)
    whole.run()

    def stop_at_6(step, record):
        if step == 6:
            raise KeyboardInterrupt

    first = trainer(tmp_path / "cut", 10, accumulate=accumulate, device=device, on_step=stop_at_6)
    with pytest.raises(KeyboardInterrupt):
        first.run()
    second = trainer(tmp_path / "cut", 10, accumulate=accumulate, device=device)
    second.run()
    assert all(torch.equal(a, b) for a, b in zip(weights_of(whole), weights_of(second)))

    def losses(name):
        return [r["loss"] for r in RunFolder(tmp_path / name).metrics()]

    assert losses("cut") == losses("whole") and len(losses("cut")) == 10


def test_cancel_stops_within_one_micro_batch_and_keeps_the_run(tmp_path):
    seen = []

    def cancel():
        seen.append(1)
        if len(seen) == 8:  # the second micro-batch of the fourth step
            raise InterruptedError("cancelled")

    run = trainer(tmp_path, 10, accumulate=2, on_micro=cancel, save_every=100)
    with pytest.raises(InterruptedError):
        run.run()
    assert len(seen) == 8
    step, tensors = RunFolder(tmp_path).load()
    assert step == 3 and tensors
    again = trainer(tmp_path, 10, accumulate=2, save_every=100)
    again.run()
    assert [r["step"] for r in RunFolder(tmp_path).metrics()] == list(range(1, 11))


def test_cancel_is_not_asked_for_between_two_turns_of_a_step(tmp_path):
    """A state saved there would hold half of a step, which the resumed run would take once more."""
    options = ConsistencyOptions(skip=100, **OPTIONS)
    turns = tuple(Turn("student", (Term(consistency, options, weight),)) for weight in (1.0, 0.5))

    def run_of(folder, **hooks):
        method = Method("LCM", options, turns, "lcm", "lcm")
        return trainer(tmp_path / folder, 6, method=method, save_every=100, **hooks)

    def cancel():
        asked.append(1)
        if len(asked) == 4:
            raise InterruptedError("cancelled")

    whole, asked = run_of("whole"), []
    whole.run()
    with pytest.raises(InterruptedError):
        run_of("cut", on_micro=cancel).run()
    again = run_of("cut")
    again.run()
    assert RunFolder(tmp_path / "cut").metrics()[3]["step"] == 4  # the fourth step was asked about once, as each is
    assert all(torch.equal(a, b) for a, b in zip(weights_of(whole), weights_of(again)))


def test_metrics_after_the_last_saved_state_are_cut(tmp_path):
    run = trainer(tmp_path, 4)
    run.run()
    folder = RunFolder(tmp_path)
    folder.log({"step": 5, "loss": 1.0})
    folder.load()
    assert folder.metrics()[-1]["step"] == 4


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_state(tmp_path):
    def explode(roles, path, batch, options):
        loss, logs = consistency(roles, path, batch, options)
        explode.calls += 1
        return (loss * float("nan") if explode.calls == 4 else loss), logs

    explode.calls = 0
    options = ConsistencyOptions(**OPTIONS)
    method = Method("LCM", options, (Turn("student", (Term(explode, options),)),), "lcm", "lcm")
    run = trainer(tmp_path, 10, method=method)
    with pytest.raises(NonFiniteLoss, match="step 4.*lower the learning rate"):
        run.run()
    step, tensors = RunFolder(tmp_path).load()
    assert step == 3 and all(torch.isfinite(t).all() for t in tensors.values())


def test_an_old_state_that_is_held_does_not_stop_the_run(tmp_path, monkeypatch):
    """Windows while a virus scanner reads it: the next save drops it."""
    folder, unlink = RunFolder(tmp_path), pathlib.Path.unlink

    def held(path, missing_ok=False):
        if path.name == "state-1.safetensors":
            raise PermissionError("used by another process")
        unlink(path, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(pathlib.Path, "unlink", held)
        for step in (1, 2, 3):
            folder.save(step, {"a": torch.ones(1)}, 1)
    assert [path.name for path in folder.states()] == ["state-1.safetensors", "state-3.safetensors"]
    folder.save(4, {"a": torch.ones(1)}, 1)
    assert [path.name for path in folder.states()] == ["state-4.safetensors"]


def test_a_torn_last_line_of_the_metrics_does_not_block_the_run(tmp_path):
    trainer(tmp_path, 4).run()
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 5, "lo')
    trainer(tmp_path, 6).run()
    assert [r["step"] for r in RunFolder(tmp_path).metrics()] == list(range(1, 7))


def test_metrics_without_a_saved_state_start_anew(tmp_path):
    RunFolder(tmp_path).log({"step": 1, "loss": 9.0})
    trainer(tmp_path, 2).run()
    assert [r["step"] for r in RunFolder(tmp_path).metrics()] == [1, 2]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_lower_precision_learns_on_any_device(tmp_path, precision, device):
    """Under autocast the target's pass must not cost the student its graph; fp16 needs a scaler, and so CUDA."""
    if precision == "fp16" and device.type == "cpu":
        with pytest.raises(ValueError, match="needs a CUDA device"):
            trainer(tmp_path, 2, precision=precision)
        return
    run = trainer(tmp_path, 6, precision=precision, device=device)
    run.run()
    metrics = RunFolder(tmp_path).metrics()
    assert all(record["student_gradient"] > 0 for record in metrics)
    assert all(torch.isfinite(weights).all() for weights in weights_of(run))


@pytest.mark.skipif(not hasattr(torch.amp, "GradScaler"), reason="before torch 2.3 only CUDA has a scaler")
def test_the_loss_scale_of_fp16_goes_on_with_the_run(tmp_path):
    """A scaler of the CPU in the place of CUDA's: where it stands and how many good steps it has counted."""
    first, again = trainer(tmp_path, 4), trainer(tmp_path, 4)
    first.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12, growth_interval=3)
    first.run()
    again.scaler = torch.amp.GradScaler("cpu")
    again.resume()
    kept = first.scaler.state_dict()
    assert kept["scale"] == 2.0**13 and kept["_growth_tracker"] == 1 and again.scaler.state_dict() == kept


def test_only_the_newest_states_are_kept(tmp_path):
    trainer(tmp_path, 12, save_every=2, keep_last=3).run()
    assert [p.name for p in RunFolder(tmp_path).states()] == [f"state-{n}.safetensors" for n in (8, 10, 12)]
    assert not list(tmp_path.glob("*.tmp"))


def test_a_turn_that_is_not_due_costs_nothing(tmp_path):
    calls = {"student": 0, "critic": 0}

    def count(roles, path, batch, name):
        calls[name] += 1
        return roles(name, batch.x0, torch.ones(len(batch.x0)), None).square().mean(), {}

    turns = (
        Turn("student", (Term(count, "student"),), every=3),
        Turn("critic", (Term(count, "critic"),)),
    )
    method = Method("two", ConsistencyOptions(), turns, "lcm", "lcm")
    trainer(tmp_path, 6, method=method, ema_decay=0.0, names=("student", "critic")).run()
    assert calls == {"student": 2, "critic": 6}


def test_other_settings_are_refused_on_resume_and_named(tmp_path):
    trainer(tmp_path, 4).run()
    with pytest.raises(ValueError, match=r"batch_size \(8 -> 4\).*choose another run name"):
        trainer(tmp_path, 8, batch_size=4).run()
    trainer(tmp_path, 8, learning_rate=1e-3).run()
    assert json.loads((tmp_path / "config.json").read_text())["steps"] == 8


def test_a_run_of_another_model_is_refused(tmp_path):
    run = trainer(tmp_path, 2)
    run.run()
    step, tensors = RunFolder(tmp_path).load()
    smaller = {key: value[..., :1] if value.ndim else value for key, value in tensors.items()}
    RunFolder(tmp_path).save(step, smaller, 1)
    with pytest.raises(ValueError, match="another model or rank"):
        trainer(tmp_path, 4).run()


def test_a_run_folder_of_another_method_or_model_is_named(tmp_path):
    """By its words where the settings hold a hash; the run itself is left as it was."""
    run = trainer(tmp_path, 2)
    run.source = {"base": "b0b0", "data": "d0d0"}
    run.run()
    before = sorted((path.name, path.read_bytes()) for path in tmp_path.iterdir())
    flash = imagine_flash(ReconstructionOptions())
    for other, source, message in (
        ({"method": flash}, {}, r"method \('LCM' -> 'ImagineFlash'\)"),
        ({}, {"base": "b1b1", "data": "d0d0"}, "base \\(another model, or other LoRAs on it\\)"),
        ({}, {"base": "b0b0", "data": "d1d1"}, "data \\(other prompts, pictures or sizes\\)"),
    ):
        run = trainer(tmp_path, 4, **other)
        run.source = source
        with pytest.raises(ValueError, match=f"other settings: .*{message}.*choose another run name"):
            run.run()
    assert sorted((path.name, path.read_bytes()) for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize("text", [b"[1, 2]", b"{", b"\xff\xfe{"])
def test_a_folder_that_is_no_run_is_refused(text, tmp_path):
    (tmp_path / "config.json").write_bytes(text)
    with pytest.raises(
        ValueError, match="config.json in the run .* is not the settings of a FewStep run.*another run name"
    ):
        trainer(tmp_path, 2).run()
    assert (tmp_path / "config.json").read_bytes() == text


def test_every_epoch_shows_every_example_once_in_its_own_order():
    first, second = indices_of(0, 0, 10, 10), indices_of(0, 10, 10, 10)
    assert sorted(first) == sorted(second) == list(range(10)) and first != second
    assert indices_of(0, 7, 5, 10) == [*first[7:], *second[:2]]
    assert indices_of(0, 0, 35, 10)[10:20] == second


def test_samples_do_not_depend_on_how_they_are_batched():
    data = examples(64)
    whole, half = make_batch(data, 3, 0, 8, CPU), make_batch(data, 3, 4, 4, CPU)
    assert torch.equal(whole.x0[4:], half.x0) and torch.equal(whole.noise[4:], half.noise)
    assert torch.equal(whole.uniform[4:], half.uniform)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size"),
        ({"learning_rate": -1e-4}, "learning_rate must be positive"),
        ({"ema_decay": 1.0}, "ema_decay"),
        ({"precision": "int8"}, "fp32, bf16, fp16"),
        ({"rank": -1}, "rank"),
        ({"alpha": -1.0}, "alpha"),
        ({"decay": "linear"}, "constant or cosine"),
    ],
)
def test_impossible_configs_are_refused_in_words(options, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**options)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"grid": 7}, "divide 1000"),
        ({"skip": 30}, "multiple of 20"),
        ({"skip": 0}, "multiple of 20"),
        ({"guidance_min": 3.0, "guidance_max": 2.0}, "min <= max"),
        ({"loss": "lpips"}, "huber or l2"),
        ({"target": "teacher"}, "student or ema"),
        ({"huber_c": 0.0}, "huber_c"),
        ({"solver_steps": 0}, "solver_steps"),
    ],
)
def test_impossible_lcm_options_are_refused_in_words(options, message):
    with pytest.raises(ValueError, match=message):
        ConsistencyOptions(**options)
