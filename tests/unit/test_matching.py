"""Distribution matching: where the rate of its student begins."""

from dataclasses import replace

from fewstep.tests.helpers.exact_teacher import trained
from fewstep.tests.helpers.gaussian import examples
from fewstep.training import methods
from fewstep.training.options import DMDOptions
from fewstep.training.state import RunFolder


def prompts_alone():
    return replace(examples(), latents=None, shape=(2, 1, 1))


def test_a_critics_head_start_leaves_the_student_its_warm_up(tmp_path):
    """Twelve steps: the critic rises from the first on, the student from its own first, the ninth."""
    method = methods.dmd(DMDOptions(student_every=1, critic_head_start=8))
    trained(method, tmp_path, 12, prompts_alone(), warmup=4, learning_rate=1e-3, decay="constant", batch_size=4)
    rates = [record.get("learning_rate") for record in RunFolder(tmp_path).metrics()]
    assert rates[:8] == [None] * 8 and rates[8:] == [0.25e-3, 0.5e-3, 0.75e-3, 1e-3]
