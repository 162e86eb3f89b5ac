"""Models whose rows depend on each other are refused, and other models are not."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.engine.in_process import program_of
from unitrank_engine.errors import EngineError
from unitrank_engine.models.inspection import manifest
from unitrank_engine.program import Program

Change = Callable[[Tensor], Tensor]


class Changed(nn.Module):
    """Applies a function to the hidden values [rows, 6]."""

    def __init__(self, change: Change) -> None:
        super().__init__()
        self.a, self.b, self.change = nn.Linear(4, 6), nn.Linear(6, 3), change

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.tanh(self.change(self.a(x))))


MIXING: dict[str, Change] = {
    "unbiased std": lambda h: (h - h.mean(0)) / (h.std(0) + 1e-5),
    "biased std": lambda h: h / (h.std(0, unbiased=False) + 1e-5),
    "var": lambda h: h + h.var(0),
    "small var": lambda h: h + 1e-4 * h.var(0, unbiased=False),
    "covariance": lambda h: h @ (h - h.mean(0)).T.matmul(h - h.mean(0)) / 4,
    "correlation": lambda h: h @ (c := (h - h.mean(0)) / h.std(0, unbiased=False)).T.matmul(c) / 4,
    "mean": lambda h: h - h.mean(0, keepdim=True),
    "small mean": lambda h: h + 1e-4 * h.mean(0),
    "median": lambda h: h - h.median(0).values,
    "amax": lambda h: h / h.amax(0),
    "norm": lambda h: h / h.norm(dim=0),
    "normalize": lambda h: functional.normalize(h, dim=0),
    "softmax": lambda h: h.softmax(0),
    "log_softmax": lambda h: h.log_softmax(0),
    "sort": lambda h: h.sort(0).values,
    "ranks": lambda h: h + 0.01 * h.argsort(0).argsort(0).float(),
    "cumsum": lambda h: h.cumsum(0),
    "cummax": lambda h: h.cummax(0).values,
    "logcumsumexp": lambda h: h.logcumsumexp(0),
    "flip": lambda h: h.flip(0),
    "roll": lambda h: h.roll(1, 0),
    "first row": lambda h: h + h[0],
    "last row": lambda h: h + h[-1:],
    "products of rows": lambda h: torch.softmax(h @ h.T, -1) @ h,
    "gram matrix": lambda h: h @ (h.T @ h),
    "share of active rows": lambda h: h + 1e-3 * (h > 0).float().mean(0),
    "batch norm by hand": lambda h: (h - h.mean(0)) * torch.rsqrt(h.var(0, unbiased=False) + 1e-5),
}
SEPARATE: dict[str, Change] = {
    "nothing": lambda h: h,
    "layer norm": lambda h: functional.layer_norm(h, (6,)),
    "std of a row": lambda h: h / h.std(1, keepdim=True),
    "sort of a row": lambda h: h.sort(1).values,
    "softmax of a row": lambda h: h.softmax(-1),
    "maximum for stability": lambda h: torch.exp(h - h.max()) / torch.exp(h - h.max()).sum(1, keepdim=True),
    "rows in another axis": lambda h: h.reshape(-1, 3).cumsum(1).flip(1).reshape(-1, 6),
    "rows last": lambda h: h.T.cumsum(0).flip(0).T,
    "number of rows": lambda h: h + torch.arange(h.shape[0]).unsqueeze(1) * 0,
    "statistics of weights": lambda h: h @ ((w := torch.arange(36.0).reshape(6, 6).sin()) - w.mean(0)) / 4,
}


def checked(change: Change) -> Program:
    torch.manual_seed(0)
    program = program_of(Changed(change), torch.randn(2, 4))
    manifest(program)
    return program


@pytest.mark.parametrize("kind", MIXING)
def test_a_model_that_mixes_rows_is_refused(kind: str) -> None:
    with pytest.raises(EngineError, match="depends on the other examples of its batch") as caught:
        checked(MIXING[kind])

    assert caught.value.code == "rows_depend"


@pytest.mark.check
@pytest.mark.parametrize("kind", SEPARATE)
def test_a_model_with_separate_rows_is_accepted(kind: str) -> None:
    assert list(checked(SEPARATE[kind]).outputs) == ["output"]


def test_the_refusal_names_the_operator_and_its_layer() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Sequential(Changed(lambda h: h / h.std(0))))

    with pytest.raises(EngineError, match=r"probably by aten\.std\.dim in layer '1\.0'"):
        manifest(program_of(net, torch.randn(2, 4)))
