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


@pytest.mark.parametrize("name", list(BEYOND))
def test_a_call_when_it_would_read_beyond_its_tensors_then_is_refused(name: str, tmp_path: Path) -> None:
    """torch 2.13 computes with the memory behind the tensors, or crashes."""
    with pytest.raises(EngineError) as refusal:
        traced(*BEYOND[name], tmp_path)

    assert refusal.value.code == "weights_refused"


WITHIN: dict[str, tuple[torch.nn.Module, Tensor]] = {
    "attention": (Calling(attention, torch.ones(1, 1, 50, 3)), torch.ones(2, 1, 50, 8)),
    "batch_norm": (Calling(batch_norm, torch.ones(4)), torch.ones(2, 4)),
}


@pytest.mark.parametrize("name", list(WITHIN))
def test_a_call_when_its_shapes_agree_then_passes(name: str, tmp_path: Path) -> None:
    assert traced(*WITHIN[name], tmp_path).places
