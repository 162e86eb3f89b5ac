"""A rewritten embedding_bag has the value and the gradient of torch's own operator, or is
refused.
"""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.engine.in_process import program_of
from unitrank_engine.errors import EngineError
from unitrank_engine.program.rewrites.embedding_bag import embedding_bag

aten = torch.ops.aten

INDICES = torch.tensor([3, 1, 4, 1, 5, 0, 2, 3])
OFFSETS = {
    "one_bag": [0],
    "three_bags": [0, 2, 5],
    "an_empty_bag": [0, 3, 3, 5],
    "an_empty_last_bag": [0, 4, 8],
}


def both(weight: Tensor, *arguments: Any, **options: Any) -> list[tuple[Tensor, Tensor]]:
    """The values and the gradients, each as a pair: of the rewritten graph and of torch."""
    pairs = []
    defaults = {"scale_grad_by_freq": False, "mode": 0, "sparse": False, "per_sample_weights": None, "include_last_offset": False}
    for function in (embedding_bag, aten.embedding_bag.padding_idx):
        table = weight.clone().requires_grad_()
        result = function(table, *arguments, *({**defaults, "padding_idx": None} | options).values())[0]
        weights = torch.arange(1, result.numel() + 1, dtype=result.dtype).sin().reshape(result.shape)
        pairs.append([result.detach(), *torch.autograd.grad((result * weights).sum(), [table])])
    return list(zip(*pairs, strict=True))


@pytest.mark.parametrize("mode", [0, 1, 2], ids=["sum", "mean", "max"])
@pytest.mark.parametrize("offsets", list(OFFSETS))
@pytest.mark.parametrize("padding", [None, 1, -6], ids=str)
def test_each_mode_when_the_offsets_are_in_order_then_is_torchs_own(mode: int, offsets: str, padding: int | None) -> None:
    weight = torch.randn(6, 3, dtype=torch.float64)

    for ours, theirs in both(weight, INDICES, torch.tensor(OFFSETS[offsets]), mode=mode, padding_idx=padding):
        torch.testing.assert_close(ours, theirs, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("kind", [torch.int32, torch.int64], ids=str)
def test_the_last_offset_when_it_is_an_end_then_is_torchs_own(kind: torch.dtype) -> None:
    weight, offsets = torch.randn(6, 3, dtype=torch.float64), torch.tensor([0, 2, 5, 8], dtype=kind)

    for ours, theirs in both(weight, INDICES.to(kind), offsets, include_last_offset=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-14, atol=1e-14)


def test_a_weight_for_each_row_is_torchs_own() -> None:
    weight, factors = torch.randn(6, 3, dtype=torch.float64), torch.randn(8, dtype=torch.float64)

    for ours, theirs in both(weight, INDICES, torch.tensor([0, 3]), per_sample_weights=factors):
        torch.testing.assert_close(ours, theirs, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"indices": INDICES.reshape(2, 4)}, "weights_refused"),
        ({"offsets": torch.zeros(0, dtype=torch.int64)}, "weights_refused"),
        ({"offsets": torch.zeros(2)}, "weights_refused"),
        ({"weight": torch.zeros(6)}, "weights_refused"),
        ({"per_sample_weights": torch.zeros(7)}, "weights_refused"),
        ({"mode": 3}, "program_refused"),
        ({"mode": 2, "per_sample_weights": torch.zeros(8)}, "program_refused"),
    ],
    ids=str,
)
def test_a_call_whose_arguments_do_not_fit_is_refused(change: dict[str, Any], code: str) -> None:
    arguments: dict[str, Any] = {"weight": torch.zeros(6, 3), "indices": INDICES, "offsets": torch.tensor([0, 2]), **change}

    with pytest.raises(EngineError, match="embedding_bag") as caught:
        embedding_bag(**arguments)

    assert caught.value.code == code


def test_offsets_that_go_back_give_sums_of_rows_of_the_table() -> None:
    """torch returned 8 176 of 8 192 values of freed memory for these."""
    offsets = torch.full((512,), 2)
    offsets[0], offsets[1] = 0, 5

    result = embedding_bag(torch.ones(4, 16), torch.zeros(8, dtype=torch.int64), offsets)[0]

    assert bool(((result >= 0) & (result <= 8)).all())


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_a_network_with_bags_keeps_its_value(mode: str) -> None:
    network = nn.Sequential(nn.EmbeddingBag(7, 4, mode=mode, padding_idx=0), nn.Linear(4, 2)).double()
    ids = torch.randint(0, 7, (5, 3))

    program = program_of(network, ids)

    assert "aten.embedding_bag.padding_idx" not in {str(node.target) for node in program.module.graph.nodes}
    for rows in (1, 5):
        result = program.forward(program.lift((ids[:rows],)), "output")
        torch.testing.assert_close(result, network(ids[:rows]).detach(), rtol=1e-12, atol=1e-12)
