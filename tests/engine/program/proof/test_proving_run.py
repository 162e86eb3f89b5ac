"""The proving run stops at the first result that differs from its trace."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, fx

from tests.engine.architectures.zoo import MAKERS, export
from tests.engine.in_process import export as exported
from tests.engine.in_process import program_of
from unitrank_engine.errors import EngineError
from unitrank_engine.program import Program
from unitrank_engine.program.functional import functionalise
from unitrank_engine.program.proof import proving_run
from unitrank_engine.program.proof.uninitialised import filled_memory

aten = torch.ops.aten

X = torch.randn(2, 4)


class Indexed(torch.nn.Module):
    """Reads rows of a table with one index that has an axis, and one that has none."""

    def __init__(self, count: int, tables: int = 1) -> None:
        super().__init__()
        self.register_buffer("table", torch.full((6, 3), 3.0))
        self.register_buffer("rows", torch.zeros(count, dtype=torch.int64))
        self.register_buffer("column", torch.tensor(1))

    def forward(self, x: Tensor) -> Tensor:
        value = aten.index.Tensor(self.table, [self.rows, self.column])
        return x.sum(1, keepdim=True) + value.sum()


def test_a_result_whose_shape_was_traced_wrongly_is_refused() -> None:
    """torch traces the shape [] and computes n numbers; behind it _weight_norm wrote beyond its
    buffer.
    """
    with pytest.raises(EngineError, match=r"index .aten.index.Tensor. gives the shape \[64\].* traced \[\]") as caught:
        program_of(Indexed(64), X)

    assert caught.value.code == "shape_not_as_traced"


class Recorded(torch.nn.Module):
    """Three operators in a row."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(torch.exp(torch.cos(x)))


def claim(node: fx.Node, change: Callable[[Tensor], Tensor]) -> None:
    """Puts another trace into the node."""
    node.meta["val"] = change(node.meta["val"])


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda trace: trace[:, :3], "the shape"),
        (lambda trace: trace[0], "the shape"),
        (lambda trace: trace.double(), "the type torch.float32"),
        (lambda trace: trace.new_empty(4, trace.shape[0]).t(), "the strides"),
        (lambda trace: (trace, trace), "1 results"),
    ],
    ids=["shorter", "fewer_axes", "another_type", "another_stride", "a_tuple"],
)
def test_a_claim_that_is_wrong_stops_the_run_before_the_next_operator(
    change: Callable[[Tensor], Tensor], fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = functionalise(exported(Recorded(), X))
    _, _, exp, _, _ = module.graph.nodes
    claim(exp, change)
    ran = []
    monkeypatch.setattr(
        proving_run.fx.Interpreter,
        "call_function",
        lambda self, target, args, kwargs: ran.append(target) or target(*args, **kwargs),
    )

    with pytest.raises(EngineError, match=fault) as caught:
        proving_run.prove(module, [(None, 4)], torch.device("cpu"))

    assert caught.value.code == "shape_not_as_traced"
    assert ran == [aten.cos.default, aten.exp.default]


def test_strides_of_axes_with_one_element_are_not_compared() -> None:
    module = functionalise(exported(Recorded(), torch.randn(2, 1)))
    exp = list(module.graph.nodes)[2]
    claim(exp, lambda trace: trace.as_strided(trace.shape, (1, 7)))

    proving_run.prove(module, [(None, 1)], torch.device("cpu"))


class Biased(torch.nn.Module):
    """Attention with a learned bias.

    Without gradients torch takes another kernel than at export.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bias = torch.nn.Parameter(torch.randn(1, 2, 5, 5))

    def forward(self, x: Tensor) -> Tensor:
        heads = x.reshape(x.shape[0], 5, 2, 4).transpose(1, 2)
        attended = torch.nn.functional.scaled_dot_product_attention(heads, heads, heads, attn_mask=self.bias)
        return attended.transpose(1, 2).reshape(x.shape[0], 40)


@pytest.mark.parametrize("gradients", [True, False])
def test_attention_may_have_the_layout_of_another_kernel(gradients: bool) -> None:
    x = torch.randn(2, 40)
    net = Biased()
    with torch.set_grad_enabled(gradients):
        program = Program.from_exported(exported(net, x))

    given, expected = program.forward(program.lift((x,)), next(iter(program.outputs))), net(x)

    assert torch.allclose(given, expected, atol=1e-6)


class Fixed(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return aten.expand.default(torch.zeros(1), [5]) + x.sum(1, keepdim=True)


def test_sizes_that_depend_on_the_batch_are_compared_at_two_batch_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = []
    run = proving_run.ProvingRun.run
    monkeypatch.setattr(proving_run.ProvingRun, "run", lambda self, *inputs: rows.append(len(inputs[0])) or run(self, *inputs))

    program_of(Fixed(), X)

    assert rows == [3, 1]


def graph_of(*calls: Callable[[fx.Graph, fx.Node], fx.Node]) -> fx.GraphModule:
    """A graph without traces that calls operators one after the other, as an older archive
    could.
    """
    graph = fx.Graph()
    node = graph.placeholder("x")
    for call in calls:
        node = call(graph, node)
    graph.output((node,))
    return fx.GraphModule(torch.nn.Module(), graph)


def run(module: fx.GraphModule) -> None:
    with filled_memory():
        proving_run.ProvingRun(module, strides=True).run(X)


UNWRITTEN: dict[str, Callable[[fx.Graph, fx.Node], fx.Node]] = {
    "new_memory": lambda graph, x: graph.call_function(aten.new_empty.default, (x, [4096])),
    "whole_numbers": lambda graph, x: graph.call_function(aten.new_empty.default, (x, [4096]), {"dtype": torch.int64}),
    "a_circular_pad": lambda graph, x: graph.call_function(
        aten.pad.default, (graph.call_function(aten.new_ones.default, (x, [1, 1, 4096])), [4096, -4096], "circular")
    ),
}


@pytest.mark.parametrize("name", list(UNWRITTEN))
def test_a_result_that_an_operator_leaves_unwritten_is_refused(name: str) -> None:
    with pytest.raises(EngineError, match=r"leaves \d+ of 4096 values") as caught:
        run(graph_of(UNWRITTEN[name]))

    assert caught.value.code == "unwritten_memory"


def test_a_nan_that_an_operator_computes_passes() -> None:
    """0 / 0 is NaN on any memory, and an operator behind it passes NaN on."""
    divide = graph_of(
        lambda graph, x: graph.call_function(aten.sub.Tensor, (x, x)),
        lambda graph, x: graph.call_function(aten.div.Tensor, (x, x)),
        lambda graph, x: graph.call_function(aten.sort.default, (x,)),
    )

    run(divide)


MARKS = dict.fromkeys(("lenet", "lstm", "gated"), ()) | dict.fromkeys(("bert", "complex", "mobilenet", "unet"), pytest.mark.check)
NAMES = [pytest.param(name, marks=MARKS.get(name, pytest.mark.slow)) for name in MAKERS]
"""The archives of all architectures are run by tests/engine/architectures/test_architectures.py."""


@pytest.mark.parametrize("name", NAMES)
def test_an_ordinary_architecture_agrees_with_its_trace(name: str) -> None:
    assert Program.from_exported(export(name)).places
