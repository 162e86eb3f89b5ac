"""A graph compares its results with their traces at the first call with new shapes."""

import pytest
import torch
from torch import Tensor, nn

from tests.engine.in_process import program_of
from unitrank_engine.errors import EngineError
from unitrank_engine.program.proof import checked_graph, proving_run

aten = torch.ops.aten


def test_a_trace_that_is_wrong_at_another_batch_size_stops_the_run() -> None:
    x = torch.randn(5, 4)
    program = program_of(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), x)
    relu = next(node for node in program.module.graph.nodes if node.target is aten.relu.default)
    relu.meta["val"] = relu.meta["val"].new_empty(3, 3)
    program.module(x[:3])

    with pytest.raises(EngineError, match=r"relu.* gives the shape \[5, 3\].* traced \[3, 3\]") as caught:
        program.module(x)

    assert caught.value.code == "shape_not_as_traced"


def test_shapes_that_were_compared_are_not_compared_again(monkeypatch: pytest.MonkeyPatch) -> None:
    program = program_of(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), torch.randn(2, 4))
    rows = []
    run = proving_run.ProvingRun.run
    monkeypatch.setattr(checked_graph.ProvingRun, "run", lambda self, x: rows.append(len(x)) or run(self, x))

    results = [program.module(torch.ones(count, 4)) for count in (4, 4, 7, 4, 7)]

    assert rows == [4, 7]
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[2][0], results[4][0])


def test_a_graph_that_remembers_many_shapes_forgets_them_and_compares_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checked_graph, "MOST_SIGNATURES", 2)
    program = program_of(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), torch.randn(2, 4))
    rows = []
    run = proving_run.ProvingRun.run
    monkeypatch.setattr(checked_graph.ProvingRun, "run", lambda self, x: rows.append(len(x)) or run(self, x))

    for count in (4, 5, 4, 6, 6, 4):
        program.module(torch.ones(count, 4))

    assert rows == [4, 5, 6, 4]


def test_the_first_call_with_new_shapes_passes_gradients_on() -> None:
    program = program_of(nn.Sequential(nn.Linear(4, 3), nn.Tanh()), torch.randn(2, 4))
    x = torch.randn(6, 4)
    gradients = []
    for _ in range(2):
        leaf = x.clone().requires_grad_()
        gradients.append(torch.autograd.grad(program.module(leaf)[0].sum(), [leaf])[0])

    assert torch.equal(*gradients)


class Merged(nn.Module):
    """Merges the batch into another axis."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 6), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x).reshape(-1, 3)).reshape(x.shape[0], -1)


def test_a_batch_that_is_merged_into_another_axis_is_compared() -> None:
    program = program_of(Merged(), torch.randn(2, 4))

    for place in program.places:
        split = program.split(place, "output")
        for rows in (1, 5):
            h, live = split.head((torch.randn(rows, 4),))
            assert split.tail(h, live).shape == (rows, 4)
