"""Zero terminal SNR and rectified flow against diffusers' schedulers, given the same noise."""

import pytest

pytest.importorskip("diffusers")
from fewstep.benchmarks.parity import closed_forms  # noqa: E402 (it needs diffusers)
from fewstep.benchmarks.parity.compare import CASES  # noqa: E402


@pytest.mark.parametrize("steps", [1, 2, 4, 8])
@pytest.mark.parametrize("name, options", [(name, options) for _, name, _, options in CASES], ids=str)
def test_zero_terminal_snr_agrees_to_the_hosts_clamp(name, options, steps):
    """diffusers has alphas_cumprod = 0 at the top, hosts 4.9e-8 (alpha = 2e-4): the same latents to 1e-3."""
    assert closed_forms.zero_snr(name, steps, **options) <= 1e-3


@pytest.mark.parametrize("steps", [1, 2, 4, 8])
@pytest.mark.parametrize("shift", [1.0, 3.0])
@pytest.mark.parametrize("name", ["ddim", "lcm"])
def test_flow_models_agree_on_shifted_sigmas(name, shift, steps):
    assert closed_forms.flow(name, steps, shift) <= 1e-5
