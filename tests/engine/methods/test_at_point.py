"""Where `gradient_x_delta` takes its gradient: at x, at the baseline, or both.

The oracle is plain eager float64.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.engine.in_process import program_of, rank

RANDOM = np.random.default_rng(0)
IDS, CORRUPTED = RANDOM.integers(0, 9, (7, 5)), RANDOM.integers(0, 9, (7, 5))
NO_TESTS: dict[str, Any] = {"ablation": None, "fidelity": None, "keep_examples": 7}
METHODS = [{"name": "gradient_x_delta", "at_point": each, "id": each} for each in ("x", "baseline", "mean")]


class Words(nn.Module):
    """Embeddings, a dense layer, tanh, and a dense layer on the mean of the words."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words, self.dense, self.head = nn.Embedding(9, 4), nn.Linear(4, 6), nn.Linear(6, 2)

    def forward(self, ids: Tensor) -> Tensor:
        return self.behind(self.dense(self.words(ids)))

    def behind(self, h: Tensor) -> Tensor:
        out: Tensor = self.head(torch.tanh(h).mean(1))
        return out


class Square(nn.Module):
    """F of class 0 is the sum of h · reversed h for h = 3x."""

    def forward(self, x: Tensor) -> Tensor:
        h = torch.mul(x, 3)
        total = (h * h.flip(1)).sum(1, keepdim=True)
        return torch.cat([total, -total], 1)


def gradient(net: Words, h: Tensor) -> Tensor:
    h = h.detach().requires_grad_()
    return torch.autograd.grad(net.behind(h)[:, 1].sum(), h)[0]


@pytest.mark.parametrize("baseline", [{"kind": "field", "field": "corrupted"}, {"kind": "zeros"}], ids=["ids", "zeros"])
def test_scores_are_the_change_of_h_times_the_gradient_at_the_named_end(baseline: dict[str, Any], tmp_path: Path) -> None:
    program = program_of(Words(), torch.ones(2, 5, dtype=torch.long))
    fields = {"ids": IDS, "corrupted": CORRUPTED}

    _, arrays = rank(program, tmp_path, fields, "dense", METHODS, baseline=baseline, target={"class": 1}, **NO_TESTS)

    net = Words().double()
    vectors = [net.words(torch.from_numpy(ids)) for ids in (IDS, CORRUPTED)]
    h, start = net.dense(vectors[0]), net.dense(vectors[1] * (baseline["kind"] == "field"))
    slopes = [gradient(net, each) for each in (h, start)]
    expected = {"x": slopes[0], "baseline": slopes[1], "mean": (slopes[0] + slopes[1]) / 2}
    for id, slope in expected.items():
        np.testing.assert_allclose(arrays[f"examples/{id}/all"], ((h - start) * slope).detach(), rtol=1e-5, atol=1e-6)


def test_mean_of_both_gradients_is_complete_where_f_is_quadratic(tmp_path: Path) -> None:
    x = RANDOM.normal(size=(7, 4))
    program = program_of(Square(), torch.randn(2, 4))

    summary, _ = rank(
        program, tmp_path, {"x": x}, "input", METHODS, baseline={"kind": "constant", "value": 0.5}, target={"class": 0}, **NO_TESTS
    )

    sums = {each["id"]: each["clusters"]["all"]["completeness"] for each in summary["rankings"]}
    assert sums["mean"]["sum"] == pytest.approx(sums["mean"]["expected"], rel=1e-5)
    assert abs(sums["x"]["sum"] - sums["x"]["expected"]) > 0.1


def test_scores_when_another_ranking_takes_the_other_gradient_are_the_same(tmp_path: Path) -> None:
    program, fields = program_of(Words(), torch.ones(2, 5, dtype=torch.long)), {"ids": IDS, "corrupted": CORRUPTED}
    request = {"baseline": {"kind": "field", "field": "corrupted"}, "target": {"class": 1}, **NO_TESTS}

    _, together = rank(program, tmp_path, fields, "dense", METHODS, **request)

    for method in METHODS:
        _, alone = rank(program, tmp_path, fields, "dense", [method], **request)
        np.testing.assert_array_equal(alone[f"importance/{method['id']}"], together[f"importance/{method['id']}"])
