"""The columns of an affine part are the slopes of the eager module, however they are computed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.engine.in_process import RESOLVED, program_of
from unitrank_engine.methods.exact_ablation.columns import columns
from unitrank_engine.pipeline import prepare
from unitrank_engine.program.linearity.columns import affine_part
from unitrank_engine.program.linearity.dense_part import dense_part
from unitrank_schemas.jobs import JobRequest
from unitrank_schemas.methods import with_ids
from unitrank_tables import open_table


class Tail(nn.Module):
    """A place, an affine function, and a nonlinearity behind it."""

    def __init__(self, affine: Callable[[Tensor, nn.ParameterDict], Tensor], shape: tuple[int, ...], **weights: Tensor) -> None:
        super().__init__()
        self.place, self.affine, self.shape = nn.Tanh(), affine, shape
        self.weights = nn.ParameterDict(weights)

    def forward(self, x: Tensor) -> Tensor:
        return self.affine(self.place(x), self.weights).flatten(1).exp()


def weight(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


linear = nn.functional.linear
CASES: dict[str, tuple[bool, Tail]] = {
    "dense": (True, Tail(lambda h, w: linear(h, w["a"], w["b"]), (5,), a=weight(3, 5), b=weight(3))),
    "dense, flat": (True, Tail(lambda h, w: linear(h.flatten(1), w["a"]), (2, 3, 2), a=weight(4, 12))),
    "dense, moved": (True, Tail(lambda h, w: linear(h.movedim(1, -1).flatten(1), w["a"]), (2, 3, 2), a=weight(4, 12))),
    "dense, a part": (True, Tail(lambda h, w: linear(h[:, 1, :2], w["a"]), (3, 4), a=weight(4, 2))),
    "dense, twice": (True, Tail(lambda h, w: linear(h.expand(-1, 3, -1).flatten(1), w["a"]), (1, 4), a=weight(2, 12))),
    "product": (True, Tail(lambda h, w: h @ w["a"], (5,), a=weight(5, 3))),
    "blocked gradient": (True, Tail(lambda h, w: linear(h.detach(), w["a"]), (5,), a=weight(3, 5))),
    "two dense": (False, Tail(lambda h, w: linear(linear(h, w["a"]), w["b"]), (6,), a=weight(5, 6), b=weight(2, 5))),
    "two dense, blocked": (
        False,
        Tail(lambda h, w: linear(linear(h.detach(), w["a"]), w["b"]), (6,), a=weight(5, 6), b=weight(2, 5)),
    ),
    "skip": (False, Tail(lambda h, w: linear(h, w["a"]) + h[:, :3], (5,), a=weight(3, 5))),
    "bias from the place": (False, Tail(lambda h, w: torch.addmm(h[:, :3], h, w["a"]), (5,), a=weight(5, 3))),
    "tokens": (False, Tail(lambda h, w: linear(h, w["a"]), (2, 5), a=weight(3, 5))),
    "convolution": (False, Tail(lambda h, w: nn.functional.conv2d(h, w["a"]), (2, 4, 4), a=weight(3, 2, 3, 3))),
    "small to large": (False, Tail(lambda h, w: linear(h * 2, w["a"]), (3,), a=weight(7, 3))),
}


@pytest.mark.parametrize("name", CASES)
def test_columns_equal_the_slopes_of_the_eager_module(name: str, tmp_path: Path) -> None:
    _, tail = CASES[name]
    x = weight(2, *tail.shape)
    np.savez(tmp_path / "data.npz", x=x.numpy())
    fields: dict[str, Any] = {"model": "m", "dataset": "d", "layer": "place", "methods": ["activation"], "inputs": {"x": "x"}}
    request = JobRequest.model_validate({**fields, "target": {"class": 0}})
    request = request.model_copy(update={"methods": with_ids(request.methods)})
    program = program_of(tail, x)

    with open_table(tmp_path / "data.npz") as table:
        context = prepare(request, RESOLVED, program, table, lambda progress: None)
        part = affine_part(program, context.split.place, context.output)
        assert part is not None
        measured = columns(*part, context, torch.arange(x[0].numel()))

    affine = lambda h: tail.affine(h[None], tail.weights).flatten()  # noqa: E731
    slopes = torch.stack([affine(each) for each in torch.eye(x[0].numel()).reshape(-1, *tail.shape)]) - affine(0 * x[0])
    np.testing.assert_allclose(measured.flatten(1), slopes.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_dense_part_when_one_dense_layer_follows_then_is_its_weights_to_the_bit(name: str) -> None:
    is_dense, tail = CASES[name]
    x = weight(2, *tail.shape)
    program = program_of(tail, x)
    place = program.place("place", "output")
    part = affine_part(program, place, next(iter(program.outputs)))
    assert part is not None

    dense = dense_part(program, place, part[1].place.node)

    assert (dense is not None) == is_dense
    if name == "dense" and dense is not None:
        assert torch.equal(dense.matrix((x[:1],)), tail.weights["a"].T)
