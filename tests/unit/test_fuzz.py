"""A short soak: mutated files and texts through what needs no host. `python run.py bench soak` is the long one."""

import time

import pytest
import torch
from fewstep.benchmarks.soak import mutate, verdict
from fewstep.training.prompts import PromptFile
from fewstep.training.state import RunFolder
from fewstep.weights import families, peft_alpha, stream
from safetensors.torch import save

pytest.importorskip("hypothesis", reason="hypothesis is not installed here (requirements-test.txt)")
from hypothesis import HealthCheck, given, settings  # noqa: E402 (after the line that skips)
from hypothesis import strategies as some  # noqa: E402

QUICK = settings(
    max_examples=100, deadline=None, database=None, suppress_health_check=list(HealthCheck), derandomize=True
)
SAMPLING = {"family": "x", "sampler": "lcm", "schedule": "lcm", "steps": [1, 4], "best_steps": 4, "cfg_range": [1, 1]}
LORA = {"unet.a.to_k.lora_A.weight": torch.ones(4, 8), "unet.a.to_k.lora_B.weight": torch.ones(8, 4)}
WHOLE = save(LORA)


def assert_works_or_says_why(call) -> None:
    started = time.process_time()
    found = verdict.of(call)
    assert found in ("worked", "sentence"), found
    assert time.process_time() - started < 5


@QUICK
@given(some.randoms(use_true_random=False))
def test_headers_of_weight_files(tmp_path_factory, rng):
    path = tmp_path_factory.getbasetemp() / "bad.safetensors"
    path.write_bytes(mutate.bad_bytes(rng, WHOLE))
    assert_works_or_says_why(lambda: stream.read_header(path))


@QUICK
@given(some.randoms(use_true_random=False))
def test_metadata_of_ours_and_of_peft(rng):
    ours = mutate.bad_json(rng, {"sampling": {**SAMPLING, "timesteps": {"2": [999, 499]}}})
    assert_works_or_says_why(lambda: families.from_metadata({families.METADATA_KEY: ours}))
    peft = mutate.bad_json(rng, {"unet.lora_alpha": 2, "unet.alpha_pattern": {"to_k": 4}, "unet.use_rslora": True})
    assert_works_or_says_why(lambda: peft_alpha.with_alphas(LORA, {peft_alpha.KEY: peft}))


@QUICK
@given(some.randoms(use_true_random=False))
def test_prompt_files(tmp_path_factory, rng):
    path = tmp_path_factory.getbasetemp() / f"bad{rng.choice(('.txt', '.csv', '.tsv'))}"
    path.write_bytes(mutate.bad_bytes(rng, b'prompt,id\n"a ""blue"" robot, flat",1\n\xef\xbb\xbfa cup,2\n'))

    def read():
        found = PromptFile(path)
        assert list(found) == [found[n] for n in range(len(found))]

    assert_works_or_says_why(read)


@QUICK
@given(some.randoms(use_true_random=False))
def test_run_folders(tmp_path_factory, rng):
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    folder.save(1, {"a": torch.ones(4)}, 2)
    folder.log({"step": 1, "loss": 1.0})
    folder.write_config({"steps": 3})
    file = rng.choice(sorted(folder.path.iterdir()))
    file.write_bytes(mutate.bad_bytes(rng, file.read_bytes()))
    assert_works_or_says_why(folder.load)
    assert_works_or_says_why(folder.read_config)
