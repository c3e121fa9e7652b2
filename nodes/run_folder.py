"""A run folder is trained without a server: the graph in it is evaluated here, up to its FewStep Distill. No node."""

import logging
from dataclasses import replace
from pathlib import Path

import torch

from ..host import headless
from ..host.graph import Evaluation, leading_to
from ..host.progress import Cancelled
from ..host.training import run, run_folder
from ..training.processes import Alone
from . import NODE_CLASS_MAPPINGS, report
from .train import job_of

NOT_THE_RUNS = ("where", "prompt", "unique_id")  # inputs of the node that say nothing of the run
log = logging.getLogger(__name__)


def train(folder: Path, processes: Alone) -> tuple[bool, str]:
    """Train the run in this process, one of `processes`: (whether it came to its end, what came of it in words).

    Raises ValueError for a graph with nodes that are neither the host's nor ours.
    """
    graph, key = run_folder.read(folder)
    wanted = {node["class_type"] for node in leading_to(graph, key).values()} - set(NODE_CLASS_MAPPINGS)
    nodes = Evaluation(graph, {**headless.stock_nodes(wanted), **NODE_CLASS_MAPPINGS})
    with torch.inference_mode():  # as the host runs its nodes
        inputs = {name: values[0] for name, values in nodes.inputs(key).items() if name not in NOT_THE_RUNS}
        job = replace(job_of(**inputs), place=folder, processes=processes)
        if not processes.first:
            run.follow(job)
            return True, ""
        try:
            result = run.distil(job)
        except Cancelled:
            saved = max(job.folder.steps(), default=0)
            return False, f"Stopped after step {saved}, which is saved. The same command goes on with it."
    return True, report.summary(result, job.method, job.config)
