"""What FewStep Two-Model Sampler draws with: a run for each of its models."""

from dataclasses import replace

from .graph import Graph, Node
from .readers import Run, beyond_first, numbers, on_model, with_sampler, with_sigmas
from .schedules import host_sigmas
from .values import World, value_of

ALONE = "as the others"  # first_step of the node: anything else gives the first step a model of its own


def two_models(graph: Graph, node: Node, world: World) -> list[Run]:
    """The high model's steps, the low model's, and the first one's where that has a model of its own."""

    def run_of(name: str, first: int, last: int | None, cfg: float | None) -> Run:
        run = on_model(graph, node, world, replace(base, node=f"{node.name} {name}"), name)
        return replace(run, cfg=cfg, part=None if cut is None else (first, last))

    base = with_both_sigmas(graph, node, world, with_sampler(graph, node, world, Run(node.name)))
    cut, first = cut_of(graph, node, world, base), 0
    scales, made = numbers(value_of(graph, node, "cfg", world)), []
    if value_of(graph, node, "first_step", world) not in (ALONE, None):
        first = 1
        if "first_model" in node.links:
            made = [run_of("first_model", 0, 1, value_of(graph, node, "first_cfg", world))]
            made = [replace(run, schedule=None) for run in made]  # one step of the list says nothing of the list
    if cut is None or cut > first:
        # Its sigmas are judged from the top: what takes the first step instead of it takes that step of the list.
        made.append(run_of("high_model", 0, cut, beyond_first(scales, first, cut)))
    if cut is None or base.steps is None or cut < base.steps:
        low = run_of("low_model", cut or 0, base.steps, beyond_first(scales, cut or 0))
        began = {file.lora for run in made for file in run.files}
        # A student that goes on with what its base began keeps it by a deterministic sampler, on the base's sigmas.
        after_base = True not in began and any(file.lora for file in low.files)
        made.append(replace(low, sampler=None, schedule=None) if began and after_base else low)
    return made


def with_both_sigmas(graph: Graph, node: Node, world: World, run: Run) -> Run:
    """Adds the whole list of sigmas: one input's, or two that meet."""
    high = with_sigmas(graph, node, world, run)
    if "sigmas_low" not in node.links:
        return high
    low = with_sigmas(graph, replace(node, links={"sigmas": node.links["sigmas_low"]}), world, run)
    if high.sigmas and low.sigmas and not high.part:
        whole = (*high.sigmas, *low.sigmas[1:])
        return replace(high, sigmas=whole, steps=len(whole) - 1)
    halves = high.part and low.part and (high.part[0], high.part[1], low.part[1]) == (0, low.part[0], high.steps)
    return replace(high, part=None) if halves and high.schedule == low.schedule else replace(high, steps=None)


def cut_of(graph: Graph, node: Node, world: World, run: Run) -> int | None:
    """How many steps begin at the boundary or above, None where only a run can tell."""
    shift = on_model(graph, node, world, run, "high_model").shift
    sigmas = list(run.sigmas) or host_sigmas(run.schedule, run.steps, shift)
    boundary = value_of(graph, node, "boundary", world)
    if run.part or not sigmas or not isinstance(boundary, int | float):
        return None
    return sum(sigma >= boundary - 1e-6 for sigma in sigmas[:-1])
