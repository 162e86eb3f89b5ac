"""Runs DeepLIFT alone: takes a net, examples and baselines, and returns each example's scores."""

from functools import cache

import torch
from torch import Tensor, nn

from tests.engine.in_process import program_of
from unitrank_engine.methods.batch import Notes
from unitrank_engine.methods.deeplift.lockstep import Lockstep, Rules
from unitrank_engine.program import Program


@cache
def _program(net: nn.Module, shape: torch.Size, dtype: torch.dtype) -> Program:
    """The net as the engine runs it, exported once in a session."""
    return program_of(net, torch.zeros(2, *shape, dtype=dtype))


def scores(
    net: nn.Module,
    x: Tensor,
    baseline: Tensor,
    layer: str = "input",
    *,
    rules: Rules = "rescale",
    at: str = "output",
    output: int = 0,
) -> tuple[Tensor, Tensor, Notes]:
    """The scores and the change of the output's column, by example, and the run's notes."""
    program = _program(net, x.shape[1:], x.dtype)
    split = program.split(program.place(layer, at), next(iter(program.outputs)))
    (start, live_start), (end, live_end) = split.head((baseline,)), split.head((x,))
    h, notes = end.detach().requires_grad_(), Notes()
    before, after = Lockstep(split.behind, rules, notes).run(split.values(start, live_start), split.values(h, live_end))
    (multiplier,) = torch.autograd.grad(after[:, output].sum(), h)
    return multiplier * (end - start), (after - before)[:, output].detach(), notes
