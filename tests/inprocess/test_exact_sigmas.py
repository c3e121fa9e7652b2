"""Exact sigmas of published flow files, as the loaders give them to the host."""

import pytest
import torch
from fewstep.tests.helpers.fake_host import DiscreteSampling, FlowSampling
from fewstep.weights import families

pytest.importorskip("comfy", reason="the embedded host is not installed here")
from fewstep.host.loading import sampler  # noqa: E402


def test_exact_sigmas_are_refused_where_they_do_not_belong():
    wan = families.named("Wan 2.1 lightx2v", 4)
    assert torch.allclose(sampler.sigmas_of(FlowSampling(8.0), wan, 4)[1], torch.tensor(0.9375))
    with pytest.raises(ValueError, match="exact sigmas for 4 steps"):
        sampler.sigmas_of(FlowSampling(), wan, 5)
    with pytest.raises(ValueError, match="is for a flow model"):
        sampler.sigmas_of(DiscreteSampling(), wan, 4)
