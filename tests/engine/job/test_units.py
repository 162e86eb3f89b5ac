"""Units that group elements equal channels of a reshaped model, and a plain float64 computation."""

from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.engine.in_process import program_of, rank
from tests.engine.job.test_passes import Node, Nodes
from tests.engine.reuse.test_reuse import Memory
from unitrank_engine.program import Program

COUNT = 24
UNEVEN = [2, 0, 1, 0, 2, 2, 3, 0]
ADDITIVE = [
    "activation",
    "gradient",
    "gradient_x_activation",
    "gradient_x_delta",
    "deeplift",
    {"name": "conductance", "steps": 4},
    {"name": "integrated_gradients", "steps": 4},
]
"""Methods whose score of a unit is the sum over its elements."""


class Split(nn.Module):
    """A convolution makes 8 channels of 5 time steps, which `halves` sees as 4 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.act = nn.Conv1d(2, 8, 3), nn.Tanh()
        self.halves, self.second = nn.Unflatten(1, (4, 2)), nn.Conv2d(4, 3, (1, 2))
        self.mixed, self.end = Mixed(), nn.Linear(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.act(self.first(x))
        return self.end(torch.relu(self.second(self.halves(h))).flatten(1))


class Mixed(nn.Module):
    """Channels i and i + 4 become channel i."""

    def forward(self, h: Tensor) -> Tensor:
        return h.unflatten(1, (2, 4)).transpose(1, 2).contiguous()


class Interleaved(Split):
    def forward(self, x: Tensor) -> Tensor:
        h = self.act(self.first(x))
        return self.end(torch.relu(self.second(self.mixed(h))).flatten(1))


@cache
def network(kind: type[Split]) -> tuple[Split, Program, np.ndarray]:
    torch.manual_seed(3)
    net = kind()
    x = torch.randn(COUNT, 2, 7)
    return net, program_of(net, x[:2]), x.numpy()


def job(kind: type[Split], folder: Path, layer: str, units: Any, methods: list[Any], **more: Any) -> tuple[Any, Any]:
    _, program, x = network(kind)
    settings: dict[str, Any] = {
        "clusters": {"by": "label"},
        "ablation": {"fractions": [0.25, 0.5, 0.75], "random": 19},
        "fidelity": None,
        "keep_examples": COUNT,
    }
    baseline = {"kind": "constant", "value": 0.25}
    y = np.arange(COUNT) % 2
    return rank(
        program, folder, {"x": x, "y": y}, layer, methods, units=units, baseline=baseline,
        **(settings | more),
    )  # fmt: skip


@pytest.mark.parametrize("fill", ["baseline", "mean"])
@pytest.mark.parametrize(
    ("kind", "layer", "units"),
    [
        (Split, "halves", {"axis": 0, "groups": 4}),
        (Split, "halves", {"axis": -2, "labels": [0, 0, 1, 1, 2, 2, 3, 3]}),
        (Interleaved, "mixed", {"axis": 0, "labels": [0, 1, 2, 3, 0, 1, 2, 3]}),
    ],
)
def test_groups_and_labels_equal_channels_of_a_reshaped_place_to_the_bit(
    kind: type[Split], layer: str, units: Any, fill: str, tmp_path: Path
) -> None:
    methods = [*ADDITIVE, "taylor", "exact_ablation"]
    # With equal halves, only the random orders differ: they have streams of their own.
    tested = {"fractions": [0.25, 0.5, 0.75], "random": 19, "fill": fill, "split": "none"}

    grouped, of_groups = job(kind, tmp_path, "act", units, methods, ablation=tested)
    channels, of_channels = job(kind, tmp_path, layer, "channel", methods, ablation=tested)

    assert grouped["layer"]["shape"] == channels["layer"]["shape"] == [4]
    names = {name for name in of_channels if not name.startswith(("ablation/random", "heatmap", "tests/"))}
    assert {name for name in names if not np.array_equal(of_groups[name], of_channels[name], equal_nan=True)} == set()


def test_groups_and_labels_of_the_same_indices_are_one_job_to_the_bit(tmp_path: Path) -> None:
    groups, of_groups = job(Split, tmp_path, "act", {"axis": 0, "groups": 4}, ["gradient", "random"])
    labels, of_labels = job(Split, tmp_path, "act", {"axis": -2, "labels": [0, 0, 1, 1, 2, 2, 3, 3]}, ["gradient", "random"])

    assert all(np.array_equal(of_groups[name], of_labels[name], equal_nan=True) for name in of_groups)
    assert groups["rankings"][0]["overall"] == labels["rankings"][0]["overall"]


def members(units: Any, shape: tuple[int, ...]) -> list[np.ndarray]:
    """A boolean mask of each unit's elements, written without the engine."""
    axis, size = (0, shape[0]) if isinstance(units, str) else (units["axis"] % len(shape), shape[units["axis"]])
    if units == "position":
        return [np.arange(shape[1])[None].repeat(shape[0], 0) == position for position in range(shape[1])]
    labels = units.get("labels") or [index * units["groups"] // size for index in range(size)]
    number = np.moveaxis(np.broadcast_to(np.array(labels), (*np.delete(shape, axis), size)), -1, axis)
    return [number == label for label in range(max(labels) + 1)]


KINDS = ["position", {"axis": 0, "labels": UNEVEN}, {"axis": 1, "labels": [1, 0, 1, 2, 0]}, {"axis": -1, "groups": 5}]


@pytest.mark.parametrize("units", KINDS)
def test_a_unit_scores_the_sum_of_its_elements_in_every_method(units: Any, tmp_path: Path) -> None:
    more = {"ablation": None}
    _, elements = job(Split, tmp_path, "act", "neuron", ADDITIVE, **more)
    summary, arrays = job(Split, tmp_path, "act", units, ADDITIVE, **more)

    masks = members(units, (8, 5))
    assert summary["layer"]["shape"] == [len(masks)]
    for ranking in summary["rankings"]:
        of_elements = elements[f"examples/{ranking['id']}/0"].astype(np.float64)
        want = np.stack([of_elements[:, mask].sum(1) for mask in masks], 1)
        np.testing.assert_allclose(arrays[f"examples/{ranking['id']}/0"], want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("fill", ["zero", "baseline", "mean"])
@pytest.mark.parametrize("units", KINDS)
def test_replacing_units_equals_a_hook_on_the_eager_net_in_float64(units: Any, fill: str, tmp_path: Path) -> None:
    net, _, x = network(Split)
    tested = {"fractions": [0.25, 0.5, 0.75], "random": 19, "fill": fill, "split": "none", "verify": None}
    entry = {"name": "exact_ablation", "fill": fill}

    summary, arrays = job(Split, tmp_path, "act", units, [entry], ablation=tested, clusters={"by": "all"})

    masks = members(units, (8, 5))
    plain = Plain(net, x, fill, np.arange(COUNT) % 2)
    drops = np.stack([plain.score([]) - plain.score([mask]) for mask in masks], 1)
    np.testing.assert_allclose(arrays["importance/exact_ablation"][0], drops.mean(0), atol=1e-6)
    order = np.argsort(-arrays["importance/exact_ablation"][0], kind="stable")
    counts = summary["rankings"][0]["clusters"]["all"]["ablation"]["counts"]
    curve = [plain.score([masks[unit] for unit in order[:count]]).mean() for count in [0, *counts]]
    np.testing.assert_allclose(arrays["ablation/exact_ablation/most"][0], curve, atol=1e-6)


class Plain:
    """The net in float64, with elements of `act` replaced by a forward hook."""

    def __init__(self, net: Split, x: np.ndarray, fill: str, y: np.ndarray) -> None:
        self.net, self.x, self.rows = deepcopy(net).double(), torch.from_numpy(x).double(), torch.from_numpy(y)
        with torch.no_grad():
            h = self.net.act(self.net.first(self.x))
            start = self.net.act(self.net.first(torch.full_like(self.x, 0.25)))
        self.fill = {"zero": torch.zeros_like(h), "baseline": start, "mean": h.mean(0, keepdim=True)}[fill]

    def score(self, masks: list[np.ndarray]) -> np.ndarray:
        chosen = torch.zeros(8, 5, dtype=torch.bool)
        for mask in masks:
            chosen |= torch.from_numpy(mask)
        hook = self.net.act.register_forward_hook(lambda module, inputs, h: torch.where(chosen, self.fill, h))
        with torch.no_grad():
            output = self.net(self.x)
        hook.remove()
        return output[torch.arange(len(output)), self.rows].numpy()


def test_parts_of_another_grouping_are_never_reused_and_those_of_the_same_are(tmp_path: Path) -> None:
    parts, methods = Memory(), ["gradient", "exact_ablation"]
    for units in (*KINDS, "channel", {"axis": 0, "groups": 4}, {"axis": 0, "labels": [0, 0, 0, 1, 1, 1, 2, 3]}):
        summary, arrays = job(Split, tmp_path, "act", units, methods, parts=parts)
        assert summary["cost"]["reused"] == []

        again, of_again = job(Split, tmp_path, "act", units, methods, parts=parts)
        assert set(again["cost"]["reused"]) >= {"gradient", "exact_ablation"}
        assert all(np.array_equal(of_again[name], arrays[name], equal_nan=True) for name in arrays)


@pytest.mark.parametrize("units", KINDS[:2])
def test_nodes_that_divide_a_job_over_groups_get_its_bits(units: Any, tmp_path: Path) -> None:
    methods = ["gradient", "deeplift", "exact_ablation", "taylor"]
    alone = job(Split, tmp_path, "act", units, methods)[1]
    folders = [tmp_path / str(number) for number in range(2)]
    for folder in folders:
        folder.mkdir()

    def of_node(node: Node) -> tuple[Any, Any]:
        return job(Split, folders[node.number], "act", units, methods, runner=node)

    for _, arrays in Nodes(2).run(of_node):
        assert all(np.array_equal(arrays[name], alone[name], equal_nan=True) for name in alone)


def test_job_with_more_groups_than_examples_says_that_they_cannot_be_told_apart(tmp_path: Path) -> None:
    def warned(units: Any) -> list[str]:
        summary, _ = job(Split, tmp_path, "act", units, ["gradient"], clusters={"by": "members", "members": {"few": [0, 1, 2, 3]}})
        return [warning["detail"] for warning in summary["warnings"] if warning["code"] == "more_units_than_examples"]

    (detail,) = warned("position")
    assert "orders 5 units by the scores of 4 examples" in detail
    assert [warned({"axis": 0, "groups": 4}), warned("channel"), warned("neuron")] == [[], [], []]
