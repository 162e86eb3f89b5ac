"""Unknown modes of `grid_sample`, and values that must be finite and are not, are refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.engine.in_process import export, program_of, rank
from unitrank_engine.errors import EngineError
from unitrank_engine.program import Program
from unitrank_engine.program.contracts.finite import FINITE, finite

aten = torch.ops.aten


class Sampling(nn.Module):
    """Looks up an image at positions from the model's input."""

    def __init__(self, mode: int = 0, padding: int = 0) -> None:
        super().__init__()
        self.modes = mode, padding

    def forward(self, x: Tensor) -> Tensor:
        grid = x[:, 16:].reshape(-1, 2, 2, 2).log()
        return aten.grid_sampler.default(x[:, :16].reshape(-1, 1, 4, 4), grid, *self.modes, False).flatten(1)


@pytest.mark.parametrize("changed", [2, 3])
def test_a_mode_that_torch_does_not_have_is_refused(changed: int) -> None:
    exported = export(Sampling(), torch.rand(2, 24))
    node = next(node for node in exported.graph.nodes if node.target is aten.grid_sampler.default)
    node.update_arg(changed, 7)

    with pytest.raises(EngineError) as caught:
        Program.from_exported(exported)

    assert caught.value.code in ("program_refused", "not_loadable")


def test_positions_that_are_not_finite_are_refused() -> None:
    """NaN and infinity have no position in an image."""

    class Halves(Sampling):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.abs() + 1)

    program = program_of(Halves(), torch.rand(2, 24))
    x = torch.rand(2, 24)
    assert program.forward((x,), "output").isfinite().all()

    x[0, 20] = torch.inf
    with pytest.raises(EngineError, match=r"grid_sampler.* gets NaN or infinity") as caught:
        program.forward((x,), "output")

    assert caught.value.code == "non_finite"


def test_finite_values_are_left_as_they_are() -> None:
    values = torch.randn(3, dtype=torch.complex64)

    assert finite(values, "an operator") is values


@pytest.mark.parametrize("operator", FINITE, ids=str)
def test_each_checked_argument_is_one_of_its_operator(operator: torch._ops.OpOverload) -> None:
    assert set(FINITE[operator]) <= {argument.name for argument in operator._schema.arguments}


class Inverting(nn.Module):
    """Inverts a matrix of the model's input."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.linalg.inv(self.linear(x).reshape(-1, 2, 2) * x.abs().sum(1)[:, None, None] + torch.eye(2)).flatten(1)


def test_a_job_with_a_singular_matrix_says_so(tmp_path: Path) -> None:
    program = program_of(Inverting(), torch.rand(2, 4))
    with torch.no_grad():
        program.module.get_parameter("linear.weight").copy_(-torch.eye(4) / 2)
    x = np.array([[1.0, 0.0, 0.0, 1.0]] * 3, dtype="float32")

    with pytest.raises(EngineError, match="add a small multiple of the identity") as caught:
        rank(program, tmp_path, {"x": x}, "linear", ["gradient"])

    assert caught.value.code == "singular_matrix"
