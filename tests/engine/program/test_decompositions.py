"""`quick_decompositions` changes the time of `run_decompositions`, and not its result."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.export import exported_program
from torch.nn import functional

from tests.engine.in_process import export
from tests.engine.nets import net_of
from unitrank_engine.program.rewrites import REWRITES
from unitrank_engine.torch_private import quick_decompositions

KEPT: dict[str, Callable[[Tensor], Tensor]] = {
    "attention": lambda x: functional.scaled_dot_product_attention(x, 2 * x, 3 * x),
    "group norm": lambda x: functional.group_norm(x, 2),
    "upsample": lambda x: functional.interpolate(x, scale_factor=2, mode="linear"),
    "einsum": lambda x: torch.einsum("bij,bkj->bik", x, x),
}
"""Functions that call operators which torch keeps whole or composes of others."""


class Calls(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def assert_same(module: nn.Module, x: Tensor) -> None:
    """Compare the graph in the context with the graph of torch alone."""
    exported = export(module, x)
    expected = exported.run_decompositions(dict(REWRITES))
    with quick_decompositions():
        quick = exported.run_decompositions(dict(REWRITES))

    assert str(quick.graph) == str(expected.graph)
    assert str(quick.graph_signature) == str(expected.graph_signature)
    torch.testing.assert_close(quick.module()(x), expected.module()(x), rtol=0, atol=0)


def kernels() -> dict[str, set[str]]:
    """By operator, the keys of its kernels in Python."""
    return {str(each): set(map(str, each.py_kernels)) for each in exported_program._collect_all_valid_cia_ops()}


@pytest.mark.parametrize("name", ["convolutional", "transformer"])
def test_a_net_has_the_graph_that_torch_alone_makes(name: str) -> None:
    assert_same(net_of(name).module, net_of(name).examples(2))


@pytest.mark.parametrize("name", KEPT)
def test_an_operator_that_torch_keeps_or_composes_has_the_graph_that_torch_alone_makes(name: str) -> None:
    assert_same(Calls(KEPT[name]), torch.randn(2, 4, 6))


def test_an_operator_that_is_added_later_is_kept_as_by_torch_alone() -> None:
    with quick_decompositions():
        pass
    with torch.library._scoped_library("unitrank_later", "DEF") as library:
        library.define("twice(Tensor x) -> Tensor")
        library.impl("twice", lambda x: 2 * x, "CompositeImplicitAutograd")

        assert_same(Calls(torch.ops.unitrank_later.twice), torch.randn(2, 4, 6))


def test_the_context_leaves_torch_unchanged_also_after_an_error() -> None:
    functions = exported_program._collect_all_valid_cia_ops, exported_program._override_composite_implicit_decomp
    exported = export(net_of("functional").module, net_of("functional").examples(2))
    before = kernels()

    def refuse(*arguments: Tensor) -> Tensor:
        raise ValueError("refused")

    with pytest.raises(ValueError, match="refused"), quick_decompositions():
        exported.run_decompositions(dict(REWRITES) | {torch.ops.aten.relu.default: refuse})

    assert kernels() == before
    assert functions == (exported_program._collect_all_valid_cia_ops, exported_program._override_composite_implicit_decomp)


def test_a_table_that_replaces_a_kept_operator_is_left_to_torch() -> None:
    exported = export(Calls(KEPT["einsum"]), torch.randn(2, 4, 6))
    table = dict(REWRITES) | {torch.ops.aten.einsum.default: lambda equation, operands, path=None: operands[0] @ operands[1].mT}

    with quick_decompositions():
        quick = exported.run_decompositions(table)

    assert str(quick.graph) == str(exported.run_decompositions(table).graph)
