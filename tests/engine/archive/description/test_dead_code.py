"""Unused nodes, values and symbols are dropped before torch sees them; all others stay."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.engine.archive.forging import Entries, edited, write
from unitrank_engine.archive import clean, load


def add_unused(graph: dict[str, Any], count: int) -> None:
    """Add a chain of nodes behind the first node, none of which an output needs."""
    first = graph["nodes"][0]
    (result,) = first["outputs"]
    source = result["as_tensor"]["name"]
    value = graph["tensor_values"][source]
    for number in range(count):
        name = f"unused_{number}"
        argument = {"name": "self", "arg": {"as_tensor": {"name": source}}, "kind": 1}
        node = deepcopy(first) | {"target": "torch.ops.aten.relu.default", "inputs": [argument]}
        node["outputs"] = [{"as_tensor": {"name": name}}]
        graph["nodes"].insert(number + 1, node | {"name": name})
        graph["tensor_values"][name] = value
        source = name


def test_clean_when_nodes_and_symbols_are_unused_then_gives_the_bytes_of_the_archive_without_them(
    entries: Entries, tmp_path: Path
) -> None:
    plain = clean(write(entries, tmp_path / "plain"), tmp_path / "clean")
    with edited(entries) as program:
        add_unused(program["graph_module"]["graph"], 300)
        program["range_constraints"] |= {f"s{number}": {"min_val": 1, "max_val": None} for number in range(1000, 3000)}

    assert clean(write(entries, tmp_path / "altered"), tmp_path / "clean") == plain


class InPlace(nn.Module):
    """Changes a tensor through a view whose own result is not used."""

    def forward(self, x: Tensor) -> Tensor:
        h = x + 1
        h.view(-1).mul_(3)
        return h * x


class InPlaceByOperator(nn.Module):
    """As `InPlace`, with an assignment such as `|=`."""

    def forward(self, x: Tensor) -> Tensor:
        chosen = x > 2
        view = chosen.view(-1)
        view |= view.flip(0)
        return torch.where(chosen, x, 0)


@pytest.mark.parametrize("module", [InPlace(), InPlaceByOperator()], ids=["method", "operator"])
def test_clean_when_an_unused_result_changes_a_tensor_in_place_then_keeps_its_node(module: nn.Module, tmp_path: Path) -> None:
    x = torch.arange(8.0).reshape(2, 4)
    shapes = ({0: torch.export.Dim("batch", min=1)},)
    torch.export.save(torch.export.export(module, (x,), dynamic_shapes=shapes), tmp_path / "model.pt2")
    clean(tmp_path / "model.pt2", tmp_path / "clean")

    assert torch.equal(load(tmp_path / "clean").module()(x), module(x))
