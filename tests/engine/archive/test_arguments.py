"""An integer with which sums and products of sizes exceed 64 bits is refused."""

from typing import Any

import pytest
import torch
from torch import fx

from unitrank_engine.archive import ArchiveError
from unitrank_engine.archive.arguments import check_arguments

aten = torch.ops.aten

HUGE: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "triu_indices": (aten.triu_indices.default, (3, 3, -(2**63))),
    "tril_indices": (aten.tril_indices.default, (3, 3, 2**63 - 1)),
    "rows": (aten.triu_indices.default, (2**33, 2**33)),
    "diagonal": (aten.triu.default, ("x", -(2**63))),
    "shifts": (aten.roll.default, ("x", [-(2**63)], [0])),
    "pads": (aten.pad.default, ("x", [2**62, -(2**62)], "circular")),
    "size": (aten.full.default, ([2**41, 2**41], 1.0)),
    "repeats": (aten.repeat.default, ("x", [2**40, 1])),
    "step": (aten.slice.Tensor, ("x", 0, 0, 2, 2**62)),
}


def graph_of(target: Any, arguments: tuple[Any, ...]) -> fx.Graph:
    """A graph of one call. The argument "x" is the input of the graph."""
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.output(graph.call_function(target, tuple(x if value == "x" else value for value in arguments)))
    return graph


@pytest.mark.parametrize("name", list(HUGE))
def test_an_integer_that_is_too_large_is_refused(name: str) -> None:
    with pytest.raises(ArchiveError, match="expected integers between") as caught:
        check_arguments(graph_of(*HUGE[name]))

    assert caught.value.code == "program_refused"


ORDINARY: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "the_end_of_a_slice": (aten.slice.Tensor, ("x", 0, 1, 2**63 - 1)),
    "a_number_of_values": (aten.masked_fill.Scalar, ("x", "x", -(2**63))),
    "an_offset": (aten.triu_indices.default, (3, 3, -1)),
    "a_large_size": (aten.expand.default, ("x", [2**33])),
}


@pytest.mark.parametrize("name", list(ORDINARY))
def test_an_integer_of_an_ordinary_network_passes(name: str) -> None:
    check_arguments(graph_of(*ORDINARY[name]))
