"""Inputs that keep their value at x, or have a baseline of their own.

The oracle is plain eager float64, or F as a sum of the inputs, where a score is x − x′.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.engine.in_process import program_of, rank
from unitrank_engine.program import Program

RANDOM = np.random.default_rng(0)
X, ADJACENCY = RANDOM.normal(size=(8, 5, 3)), (RANDOM.random((8, 5, 5)) < 0.4).astype(np.float64)
NO_TESTS: dict[str, Any] = {"ablation": None, "fidelity": None}
COMPLETE = [{"name": "conductance", "steps": 20, "spacing": "cubic"}, {"name": "integrated_gradients", "steps": 100}, "deeplift"]


class Graph(nn.Module):
    """A graph convolution: the adjacency matrix goes around the layer `dense`."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.dense, self.head = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        h = self.dense(x)
        out: Tensor = self.head(torch.relu(adjacency @ h + h).sum(1))
        return out


class Sum(nn.Module):
    """F of class 0 is the sum of all values."""

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        total = x.flatten(1).sum(1) + other.flatten(1).sum(1)
        return torch.stack([total, -total], 1)


class Words(nn.Module):
    """Positions are computed from the ids, as in RoBERTa."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words, self.positions = nn.Embedding(9, 4), nn.Embedding(9, 4)
        self.act, self.head = nn.Tanh(), nn.Linear(4, 2)

    def forward(self, ids: Tensor) -> Tensor:
        places = (ids != 1).long().cumsum(1)
        out: Tensor = self.head(self.act(self.words(ids) + self.positions(places)).mean(1))
        return out


@pytest.fixture(scope="module")
def graph() -> Program:
    return program_of(Graph(), torch.randn(2, 5, 3), torch.rand(2, 5, 5))


@pytest.fixture(scope="module")
def total() -> Program:
    return program_of(Sum(), torch.randn(2, 3, 4), torch.randn(2, 5))


@pytest.fixture(scope="module")
def words() -> Program:
    return program_of(Words(), torch.ones(2, 6, dtype=torch.long))


def conductance(x: Tensor, adjacency: Tensor, steps: int = 20) -> Tensor:
    """Conductance of `dense` along α³ · x, with the adjacency matrix held, in float64."""
    net = Graph().double()
    total, before = torch.zeros(len(x), 5, 4, dtype=torch.float64), None
    for step in range(steps + 1):
        h = net.dense((step / steps) ** 3 * x).detach().requires_grad_()
        f = net.head(torch.relu(adjacency @ h + h).sum(1))[:, 1].sum()
        (gradient,) = torch.autograd.grad(f, h)
        if before is not None:
            total = total + 0.5 * (gradient + before[1]) * (h - before[0])
        before = (h, gradient)
    return total.detach()


def test_held_input_when_the_rest_goes_to_zeros_then_equals_eager_float64(graph: Program, tmp_path: Path) -> None:
    summary, arrays = rank(
        graph, tmp_path, {"x": X, "adjacency": ADJACENCY}, "dense", COMPLETE, target={"class": 1},
        baseline={"kind": "zeros", "hold": ["adjacency"]}, keep_examples=8, **NO_TESTS,
    )  # fmt: skip

    expected = conductance(torch.from_numpy(X), torch.from_numpy(ADJACENCY))
    np.testing.assert_allclose(arrays["examples/conductance/all"], expected, rtol=1e-4, atol=1e-6)
    assert summary["layer"]["cut"]
    gaps = {each["id"]: each["clusters"]["all"]["completeness"]["relative_gap"] for each in summary["rankings"]}
    assert gaps["deeplift"] < 1e-5
    assert max(gaps.values()) < 0.05


def test_held_input_when_units_return_to_the_baseline_then_the_fill_is_computed_with_it(graph: Program, tmp_path: Path) -> None:
    _, arrays = rank(
        graph, tmp_path, {"x": X, "adjacency": ADJACENCY}, "dense", ["exact_ablation"], target={"class": 1},
        baseline={"kind": "zeros", "hold": ["adjacency"]}, keep_examples=8, **NO_TESTS,
    )  # fmt: skip

    net, adjacency = Graph().double(), torch.from_numpy(ADJACENCY)
    h, fill = net.dense(torch.from_numpy(X)), net.dense(torch.zeros(1, 5, 3, dtype=torch.float64))
    for node, unit in ((0, 0), (3, 2)):
        changed = h.clone()
        changed[:, node, unit] = fill[:, node, unit]
        drops = [net.head(torch.relu(adjacency @ each + each).sum(1))[:, 1] for each in (h, changed)]
        expected = (drops[0] - drops[1]).detach()
        np.testing.assert_allclose(arrays["examples/exact_ablation/all"][:, node, unit], expected, rtol=1e-4, atol=1e-6)


def test_held_input_when_the_gradient_is_smoothed_then_it_gets_no_noise(graph: Program, tmp_path: Path) -> None:
    """Both inputs are held, so the smoothed gradient is the gradient."""
    methods = ["gradient", {"name": "gradient", "noise": {"samples": 3, "level": 0.5}, "id": "smooth"}]

    _, arrays = rank(
        graph, tmp_path, {"x": X, "adjacency": ADJACENCY}, "input:x", methods, target={"class": 1},
        baseline={"kind": "zeros", "hold": ["x", "adjacency"]}, **NO_TESTS,
    )  # fmt: skip

    np.testing.assert_allclose(arrays["importance/smooth"], arrays["importance/gradient"], rtol=1e-5, atol=1e-7)


def differences(program: Program, folder: Path, layer: str, baseline: dict[str, Any], **request: Any) -> np.ndarray:
    """x − x′ of each example, as the scores of gradient × delta."""
    _, arrays = rank(
        program, folder, FIELDS, layer, ["gradient_x_delta"], target={"class": 0}, baseline=baseline, keep_examples=6,
        **NO_TESTS | request,
    )  # fmt: skip
    return np.concatenate([arrays[name] for name in sorted(arrays) if name.startswith("examples/")])


FIELDS = {"x": RANDOM.normal(size=(6, 3, 4)), "other": RANDOM.normal(size=(6, 5)), "x0": RANDOM.normal(size=(6, 3, 4))}
X6, OTHER = FIELDS["x"], FIELDS["other"]


@pytest.mark.parametrize(
    ("baseline", "of_x", "of_other"),
    [
        ({"kind": "zeros", "hold": ["x"]}, X6, 0),
        ({"kind": "zeros", "inputs": {"other": {"kind": "mean"}}}, 0, OTHER.mean(0)),
        ({"kind": "mean", "hold": ["other"], "inputs": {"x": {"kind": "constant", "value": 2.0}}}, 2, OTHER),
        ({"kind": "field", "field": "x0", "hold": ["other"]}, FIELDS["x0"], OTHER),
        ({"kind": "field", "field": "x0", "inputs": {"other": {"kind": "zeros"}}}, FIELDS["x0"], 0),
        ({"kind": "zeros", "inputs": {"x": {"kind": "field", "field": "x0"}}}, FIELDS["x0"], 0),
        ({"kind": "mean", "inputs": {"x": {"kind": "example", "index": 2}}}, X6[2], OTHER.mean(0)),
        (
            {"kind": "zeros", "inputs": {"x": {"kind": "constant", "value": [1.0, 2.0, 3.0]}}},
            np.array([1.0, 2.0, 3.0])[:, None],
            0,
        ),
        ({"kind": "zeros", "inputs": {"x": {"kind": "constant", "value": [1.0, 2.0, 3.0, 4.0]}}}, np.arange(1.0, 5), 0),
    ],
)
def test_each_input_has_its_own_baseline(
    baseline: dict[str, Any], of_x: Any, of_other: Any, total: Program, tmp_path: Path
) -> None:
    np.testing.assert_allclose(differences(total, tmp_path, "input:x", baseline), X6 - of_x, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(differences(total, tmp_path, "input:other", baseline), OTHER - of_other, rtol=1e-5, atol=1e-6)


def test_baseline_of_one_input_can_depend_on_the_cluster(total: Program, tmp_path: Path) -> None:
    baseline = {"kind": "zeros", "inputs": {"x": {"kind": "cluster_mean"}}}
    clusters = {"by": "members", "members": {"a": [0, 1, 2], "b": [3, 4, 5]}}

    scores = differences(total, tmp_path, "input:x", baseline, clusters=clusters)

    expected = np.concatenate([X6[:3] - X6[:3].mean(0), X6[3:] - X6[3:].mean(0)])
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-6)


IDS = np.array([[2, 3, 4, 1, 1, 1], [5, 6, 7, 8, 2, 1]])


def test_path_of_positions_that_are_computed_from_ids_has_both_embeddings(words: Program) -> None:
    assert [(value.name, value.inputs) for value in words.path_values] == [("words", ["ids"]), ("positions", ["ids"])]


@pytest.mark.parametrize(("hold", "moving"), [([], {"words", "positions"}), (["positions"], {"words"}), (["words"], {"positions"})])
def test_embedding_that_is_held_keeps_its_value(hold: list[str], moving: set[str], words: Program, tmp_path: Path) -> None:
    deltas = {}
    for layer in ("words", "positions"):
        _, arrays = rank(
            words, tmp_path, {"ids": IDS}, layer, ["activation", "gradient", "gradient_x_delta"], target={"class": 0},
            baseline={"kind": "zeros", "hold": hold}, keep_examples=2, **NO_TESTS,
        )  # fmt: skip
        deltas[layer] = arrays["examples/gradient_x_delta/all"]
        if layer in moving:
            expected = arrays["examples/activation/all"] * arrays["examples/gradient/all"]
            np.testing.assert_allclose(deltas[layer], expected, rtol=1e-5, atol=1e-7)

    assert {layer for layer, delta in deltas.items() if np.any(delta)} == moving


def test_embedding_when_it_has_its_own_constant_then_there_is_one_number_for_each_element(words: Program, tmp_path: Path) -> None:
    values = [0.5, -1.0, 2.0, 0.0]

    _, arrays = rank(
        words, tmp_path, {"ids": IDS}, "words", ["activation", "gradient", "gradient_x_delta"], target={"class": 0},
        baseline={"kind": "zeros", "inputs": {"words": {"kind": "constant", "value": values}}}, keep_examples=2, **NO_TESTS,
    )  # fmt: skip

    expected = (arrays["examples/activation/all"] - np.array(values)) * arrays["examples/gradient/all"]
    np.testing.assert_allclose(arrays["examples/gradient_x_delta/all"], expected, rtol=1e-5, atol=1e-6)
