"""Jobs whose memory is estimated, and what autograd keeps for them."""

import contextlib

import torch
from fewstep.tests.helpers.in_process import PROMPTS
from fewstep.training import methods
from fewstep.training.config import TrainConfig
from fewstep.training.options import ConsistencyOptions


def job_of(tiny, method=None, side=96, **settings):
    from fewstep.host.data import dataset
    from fewstep.host.training.job import Job

    method = method or methods.lcm(ConsistencyOptions())
    spec = dataset.DataSpec(tuple(PROMPTS), None, side, side, 4, 2, 2.0)
    config = TrainConfig(**{"batch_size": 2, "rank": 8, "alpha": 8.0, **settings})
    return Job(*tiny, spec, method, config, "estimate", [])


def really_kept(job) -> int:
    """Bytes of the tensors that autograd saves in a real pass of the student, weights not counted."""
    from fewstep.host import conditioning, model_copy
    from fewstep.host.training import activations, layers
    from fewstep.training.roles import LoraRoles, equal_adapters

    kind, count = activations.KINDS[job.config.precision], job.config.batch_size
    with model_copy.training_mode():
        copy = model_copy.TrainingCopy(job.model, kind)
        targets = layers.lora_targets(job.model)
        roles = LoraRoles(copy.net, copy.denoise, equal_adapters(targets, job.config.rank, job.config.alpha))
        found = conditioning.encode_prompts(job.model, job.clip, [""], job.spec.height, job.spec.width)[0]
        cond = {name: value.expand(count, *value.shape[1:]).contiguous() for name, value in found.items()}
        seen = {t.untyped_storage().data_ptr() for t in (*copy.net.parameters(), *copy.net.buffers())}
        kept = []

        def pack(tensor):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in seen:
                seen.add(storage.data_ptr())
                kept.append(storage)
            return tensor

        half = torch.autocast("cpu", dtype=kind, cache_enabled=False) if kind != torch.float32 else None
        y = torch.randn(activations.arguments(job)[0].shape)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t), half or contextlib.nullcontext():
            roles("student", y, torch.ones(count), cond)
        return sum(storage.nbytes() for storage in kept)
