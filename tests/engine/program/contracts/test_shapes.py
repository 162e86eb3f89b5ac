"""A call whose kernel would read beyond its tensors is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from unitrank_engine.archive import clean, load
from unitrank_engine.errors import EngineError
from unitrank_engine.program import Program

aten = torch.ops.aten


class Calling(torch.nn.Module):
    """Calls a function on its input and on buffers of its own."""

    def __init__(self, function: Callable[..., Tensor], *buffers: Tensor) -> None:
        super().__init__()
        self.function, self.names = function, [f"buffer_{number}" for number in range(len(buffers))]
        for name, tensor in zip(self.names, buffers, strict=True):
            self.register_buffer(name, tensor)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, *(getattr(self, name) for name in self.names))


def traced(network: torch.nn.Module, rows: Tensor, folder: Path) -> Program:
    """The program of an upload, with shapes that torch computed again."""
    shapes = ({0: torch.export.Dim("batch", min=1)},)
    torch.export.save(torch.export.export(network.eval(), (rows,), dynamic_shapes=shapes), folder / "model.pt2")
    clean(folder / "model.pt2", folder / "clean")
    return Program.from_exported(load(folder / "clean"))


def attention(x: Tensor, values: Tensor) -> Tensor:
    return aten.scaled_dot_product_attention.default(x, x, values.expand(x.shape[0], -1, -1, -1)).flatten(1)


def batch_norm(x: Tensor, numbers: Tensor) -> Tensor:
    results: Any = aten._native_batch_norm_legit_no_training.default(x, numbers, numbers, numbers, numbers.abs(), 0.1, 1e-5)
    return results[0]


BEYOND: dict[str, tuple[torch.nn.Module, Tensor]] = {
    "fewer_values_than_keys": (Calling(attention, torch.ones(1, 1, 2, 8)), torch.ones(2, 1, 50, 8)),
    "fewer_numbers_than_channels": (Calling(batch_norm, torch.ones(1)), torch.ones(2, 4)),
    "no_channels": (Calling(batch_norm, torch.ones(0)), torch.ones(2, 0)),
}


def pool(*arguments: Any) -> Callable[[Tensor], Tensor]:
    """Max pooling; the kernel has one size for each axis."""
    pools = (aten.max_pool1d.default, aten.max_pool2d.default, aten.max_pool3d.default)
    return lambda x: pools[len(arguments[0]) - 1](x, *arguments)


@pytest.mark.parametrize("name", list(BEYOND))
def test_a_call_when_it_would_read_beyond_its_tensors_then_is_refused(name: str, tmp_path: Path) -> None:
    """torch 2.13 computes with the memory behind the tensors, or crashes."""
    with pytest.raises(EngineError) as refusal:
        traced(*BEYOND[name], tmp_path)

    assert refusal.value.code == "weights_refused"


EMPTY = {
    "one_axis": (pool([2], [1], [1], [2]), (1,)),
    "first_of_two_axes": (pool([2, 1], [1, 1], [1, 0], [2, 1]), (1, 64)),
    "both_axes": (pool([2, 2], [1, 1], [1, 1], [3, 3]), (2, 2)),
    "one_number_for_three_axes": (pool([2, 2, 2], [1], [1], [3]), (4, 4, 2)),
}


@pytest.mark.parametrize("name", list(EMPTY))
def test_a_pool_when_a_window_has_no_element_then_is_refused(name: str, tmp_path: Path) -> None:
    """torch 2.13 gives the window a position behind the axis, and the gradient writes there."""
    function, sizes = EMPTY[name]
    with pytest.raises(EngineError, match="a window can be without elements") as refusal:
        traced(Calling(function), torch.ones(2, 1, *sizes), tmp_path)

    assert refusal.value.code == "program_refused"


@pytest.mark.check
@pytest.mark.parametrize("size", [2, 3, 5])
@pytest.mark.parametrize("arguments", [([2], [1], [1], [2]), ([3], [2], [1], [1]), ([2], [1], [0], [1])])
def test_a_pool_when_it_is_accepted_then_each_position_is_inside(
    arguments: tuple[list[int], ...], size: int, tmp_path: Path
) -> None:
    traced(Calling(pool(*arguments)), torch.ones(2, 1, size), tmp_path)
    kernel, stride, padding, dilation = ([*values, 1] if values is not arguments[2] else [*values, 0] for values in arguments)
    _, positions = aten.max_pool2d_with_indices.default(torch.ones(2, 1, size, 1), kernel, stride, padding, dilation)

    assert positions.max() < size


WITHIN: dict[str, tuple[torch.nn.Module, Tensor]] = {
    "attention": (Calling(attention, torch.ones(1, 1, 50, 3)), torch.ones(2, 1, 50, 8)),
    "batch_norm": (Calling(batch_norm, torch.ones(4)), torch.ones(2, 4)),
}


@pytest.mark.parametrize("name", list(WITHIN))
def test_a_call_when_its_shapes_agree_then_passes(name: str, tmp_path: Path) -> None:
    assert traced(*WITHIN[name], tmp_path).places
