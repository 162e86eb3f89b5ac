"""Shapley values equal their definition, and the intervals of sampled ones cover it."""

from collections.abc import Sequence
from itertools import combinations, permutations
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from benchmarks.calibration.shapley import shapley
from scipy import stats
from torch import Tensor, nn

from tests.engine import oracle
from tests.engine.in_process import program_of, rank
from tests.engine.nets import net_of, program
from tests.engine.reuse.test_reuse import Memory
from unitrank_engine.methods.shapley.enumeration import all_sets, shapley_values
from unitrank_engine.methods.shapley.sampling import drops

COUNT = 3
BASELINE = 0.3
ALONE: dict[str, Any] = {"ablation": None, "fidelity": None, "keep_examples": COUNT, "target": {"class": 1}}
PLACES = [
    ("functional", "fc1", "neuron"),
    ("functional", "fc3", "neuron"),
    ("shared", "act@1", "neuron"),
    ("residual", "blocks.0.fc2", "neuron"),
    ("convolutional", "features.0", "channel"),
    ("convolutional", "features.3", "channel"),
    ("convolutional", "features.5", "channel"),
    ("attentive", "norm", "channel"),
]


class Dense(nn.Module):
    """A dense layer, ReLUs, and a tail that is linear or not."""

    def __init__(self, units: int = 16, *, linear: bool = False) -> None:
        super().__init__()
        self.first, self.relu = nn.Linear(6, units), nn.ReLU()
        self.tail = nn.Linear(units, 3) if linear else nn.Sequential(nn.Linear(units, 20), nn.ReLU(), nn.Linear(20, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.tail(self.relu(self.first(x)))


def dense(units: int = 16, *, linear: bool = False) -> tuple[Dense, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return Dense(units, linear=linear).eval(), torch.randn(8, 6)


def job(name: str, folder: Path, layer: str, methods: list[Any], **request: Any) -> dict[str, np.ndarray]:
    settings = ALONE | {"baseline": {"kind": "constant", "value": BASELINE}} | request
    return rank(program(name), folder, {"x": net_of(name).examples(COUNT).numpy()}, layer, methods, **settings)[1]


def of_module(module: nn.Module, x: Tensor, folder: Path, methods: list[Any], layer: str = "relu", **request: Any) -> Any:
    settings = ALONE | {"keep_examples": len(x)} | request
    return rank(program_of(module, x), folder, {"x": x.numpy()}, layer, methods, **settings)


def by_definition(f: Any, units: int) -> np.ndarray:
    """The sum over all sets without the unit. `f`: takes the replaced units; returns F."""
    values = np.zeros(units)
    for unit in range(units):
        others = [each for each in range(units) if each != unit]
        for size in range(units):
            for chosen in combinations(others, size):
                values[unit] += (f(chosen) - f((*chosen, unit))) / (units * comb(units - 1, size))
    return values


@pytest.mark.check
@pytest.mark.parametrize(("name", "layer", "units"), PLACES)
def test_values_when_units_are_few_then_equal_the_definition_on_the_eager_net(
    name: str, layer: str, units: str, tmp_path: Path
) -> None:
    net = net_of(name)
    eager = oracle.Eager(net.module, net.taps[layer, "output"])
    x = net.examples(COUNT).double()

    arrays = job(name, tmp_path, layer, ["shapley"], units=units)

    want = np.stack([_of_example(eager, row[None], units) for row in x])
    got = arrays["examples/shapley/all"].reshape(COUNT, -1)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-6 * max(1.0, np.abs(want).max()))
    assert (arrays["standard_error/shapley"] == 0).all()


def _of_example(eager: oracle.Eager, x: Tensor, units: str) -> np.ndarray:
    with torch.no_grad():
        (h, _), (start, _) = eager.run(x), eager.run(torch.full_like(x, BASELINE))
        axis = {"neuron": None, "channel": 1 if h.dim() == 4 else h.dim() - 1}[units]
        count = h.numel() if axis is None else h.shape[axis]
        numbers = torch.arange(count).reshape(h.shape if axis is None else [-1 if at == axis else 1 for at in range(h.dim())])
        outputs: dict[tuple[int, ...], float] = {}

        def f(replaced: Sequence[int]) -> float:
            key = tuple(sorted(replaced))
            if key not in outputs:
                mask = torch.isin(numbers, torch.tensor(key, dtype=torch.long))
                outputs[key] = float(eager.run(x, instead=torch.where(mask, start, h))[1][0, 1])
            return outputs[key]

        return by_definition(f, count)


@pytest.mark.parametrize("layer", ["relu", "first"])
@pytest.mark.parametrize("fill", ["baseline", "zero", "mean", "resample"])
def test_values_at_any_fill_sum_to_the_drop_of_all_units(fill: str, layer: str, tmp_path: Path) -> None:
    module, x = dense()
    entry = {"name": "shapley", "fill": fill, "permutations": 4}
    study = {"random": 1, "orders": ["most"], "fill": fill, "check_fill": None, "split": "none", "examples": len(x)}

    _, arrays = of_module(module, x, tmp_path, [entry], layer, ablation=study)

    scores = arrays["examples/shapley/all"].astype(float).sum(1)
    with torch.no_grad():
        intact = module(x)[:, 1].numpy()
    replaced = arrays["tests/all_replaced"].astype(float)
    rows = arrays["tests/rows"]
    np.testing.assert_allclose(scores[rows], replaced, rtol=0, atol=2e-6 * np.abs(intact).max())


def test_values_when_the_tail_is_linear_then_equal_the_linear_scores_without_error(tmp_path: Path) -> None:
    module, x = dense(linear=True)
    methods = [{"name": "shapley", "permutations": 6}, "gradient_x_delta"]

    _, arrays = of_module(module, x, tmp_path, methods)

    want = arrays["examples/gradient_x_delta/all"]
    np.testing.assert_allclose(arrays["examples/shapley/all"], want, rtol=0, atol=1e-6)
    np.testing.assert_allclose(arrays["standard_error/shapley"], 0, atol=1e-6)


def test_values_of_many_units_when_the_tail_is_linear_then_equal_the_linear_scores(tmp_path: Path) -> None:
    """From 257 units on, contributions are added in float64."""
    module, x = dense(300, linear=True)

    _, arrays = of_module(module, x, tmp_path, [{"name": "shapley", "permutations": 2}, "gradient_x_delta"])

    np.testing.assert_allclose(arrays["examples/shapley/all"], arrays["examples/gradient_x_delta/all"], rtol=0, atol=1e-6)


TARGETS: dict[str, tuple[dict[str, Any], Any]] = {
    "logit": ({"class": "predicted"}, lambda z, c: z[:, c]),
    "centered": ({"class": "predicted", "score": "centered"}, lambda z, c: z[:, c] - z.mean(1)),
    "against": ({"class": 0, "against": 2}, lambda z, c: z[:, 0] - z[:, 2]),
    "probability": ({"class": "predicted", "score": "probability"}, lambda z, c: z.softmax(1)[:, c]),
}


@pytest.mark.parametrize("units", [8, 14])
@pytest.mark.parametrize("target", TARGETS)
def test_values_of_any_target_are_those_of_its_formula(target: str, units: int, tmp_path: Path) -> None:
    """8 units are enumerated, and 14 are sampled. The examples are predicted as several classes."""
    module, x = dense(units)
    fields, f = TARGETS[target]
    with torch.no_grad():
        module.tail[2].bias -= module(x).mean(0)

    _, arrays = of_module(module, x, tmp_path, [{"name": "shapley", "fill": "zero", "permutations": 512}], target=fields)

    module.double()
    with torch.no_grad():
        h = module.relu(module.first(x.double()))
        sets, predicted = all_sets(units, h.device), module.tail(h).argmax(1).tolist()
        assert len(set(predicted)) > 1
        each = [f(module.tail(torch.where(sets, 0.0, row)), c) for row, c in zip(h, predicted, strict=True)]
    want = shapley_values(torch.stack(each, 1), h != 0).numpy()
    got = arrays["examples/shapley/all"]
    np.testing.assert_allclose(got.sum(1), want.sum(1), rtol=0, atol=1e-6 * max(1.0, np.abs(want).max()))
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-6 if units == 8 else 0.05 * np.abs(want).max())


@pytest.mark.parametrize("units", [8, 16])
def test_values_of_a_unit_that_equals_its_fill_are_exactly_zero(units: int, tmp_path: Path) -> None:
    module, x = dense(units)
    methods = [{"name": "shapley", "permutations": 4, "fill": "zero"}, "activation"]

    _, arrays = of_module(module, x, tmp_path, methods)

    silent = arrays["examples/activation/all"] == 0
    assert silent.any()
    assert (arrays["examples/shapley/all"][silent] == 0).all()


def test_values_of_two_equal_units_are_equal(tmp_path: Path) -> None:
    module, x = dense(8)
    with torch.no_grad():
        for each in (module.first.weight, module.first.bias):
            each[1] = each[0]
        module.tail[0].weight[:, 1] = module.tail[0].weight[:, 0]

    _, arrays = of_module(module, x, tmp_path, ["shapley"])

    values = arrays["examples/shapley/all"]
    np.testing.assert_allclose(values[:, 0], values[:, 1], rtol=0, atol=1e-6)


def exact(module: Dense, x: Tensor) -> np.ndarray:
    """The exact values of 16 units, from all sets, for the fill `zero` and class 1, in float64."""
    net, sets = module.double(), all_sets(16, torch.device("cpu"))
    with torch.no_grad():
        h = net.relu(net.first(x.double()))
        f = torch.stack([net.tail(torch.where(sets, 0.0, row))[:, 1] for row in h], 1)
    values = shapley_values(f, torch.ones(len(x), 16, dtype=torch.bool))
    module.float()
    return values.numpy()


@pytest.mark.parametrize("layer", ["relu", "first"])
def test_sampled_values_when_compared_with_the_exact_ones_then_are_within_their_errors(layer: str, tmp_path: Path) -> None:
    """At `first`, a ReLU follows, so the tail runs with masks; at `relu`, columns are added."""
    module, x = dense()
    entry = {"name": "shapley", "permutations": 200, "fill": "zero"}

    summary, arrays = of_module(module, x, tmp_path, [entry], "relu")

    truth = exact(module, x).mean(0)
    error = arrays["standard_error/shapley"][0]
    assert (error > 0).all()
    assert (np.abs(arrays["importance/shapley"][0] - truth) <= 4.5 * error).all()
    top = summary["rankings"][0]["clusters"]["all"]["top"]
    assert summary["rankings"][0]["options"] == {"permutations": 200}
    for unit in top:
        width = unit["importance_high"] - unit["importance"]
        assert 1.9 * error[unit["unit"]] < width < 2.1 * error[unit["unit"]]


@pytest.mark.parametrize("units", ["neuron", "channel"])
def test_sampled_values_by_columns_by_passes_and_by_masks_are_equal(
    units: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    methods = [{"name": "shapley", "permutations": 4}]
    by_columns = job("convolutional", tmp_path, "features.5", methods, units=units)
    monkeypatch.setattr("unitrank_engine.methods.exact_ablation.replacing.COLUMN_BYTES", 0)
    by_passes = job("convolutional", tmp_path, "features.5", methods, units=units)

    monkeypatch.setattr("unitrank_engine.methods.shapley.affine_units.CONTRIBUTION_BYTES", 0)
    masked = job("convolutional", tmp_path, "features.5", methods, units=units)

    for name in ("examples/shapley/all", "standard_error/shapley"):
        for other in (by_columns, by_passes):
            np.testing.assert_allclose(other[name], masked[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "layer"), [("convolutional", "features.3"), ("transformer", "encoder.linear1")])
def test_values_do_not_depend_on_batch_mates(name: str, layer: str, tmp_path: Path, limit_rows: Any) -> None:
    methods = [{"name": "shapley", "permutations": 2}]
    together = job(name, tmp_path, layer, methods)["examples/shapley/all"]

    limit_rows(1)
    alone = job(name, tmp_path, layer, methods)["examples/shapley/all"]

    np.testing.assert_allclose(alone, together, rtol=1e-5, atol=1e-6)


def test_values_when_more_permutations_are_asked_then_begin_with_the_same_ones(tmp_path: Path) -> None:
    module, x = dense()
    methods = [{"name": "shapley", "id": str(count), "permutations": count} for count in (2, 4)]

    _, arrays = of_module(module, x, tmp_path, methods)

    assert np.isnan(arrays["standard_error/2"]).all()
    assert np.isfinite(arrays["standard_error/4"]).all()
    two, four, error = arrays["importance/2"], arrays["importance/4"], arrays["standard_error/4"]
    assert 0 < np.abs(two - four).max() < 20 * error.max()


def test_values_by_drops_equal_the_mean_over_all_orders() -> None:
    units, f = 4, np.random.default_rng(0).normal(size=2**4)
    orders = torch.tensor(list(permutations(range(units))))[:, None]
    sets = torch.cat([torch.zeros(len(orders), 1, dtype=torch.long), (2 ** orders[:, 0]).cumsum(1)], 1)
    changes = torch.ones(1, units, dtype=torch.bool)

    of_orders = drops(torch.from_numpy(f)[sets].T[..., None], orders, changes)

    want = by_definition(lambda chosen: f[sum(2**unit for unit in chosen)], units)
    np.testing.assert_allclose(of_orders.mean(0)[0], want, atol=1e-12)
    np.testing.assert_allclose(shapley_values(torch.from_numpy(f)[:, None], changes)[0], want, atol=1e-12)


@pytest.mark.parametrize("fields", [{"permutations": 3}, {"permutations": 0}, {"settle": 0}, {"permutations": 10_002}])
def test_request_when_an_option_is_out_of_range_then_is_rejected(fields: dict[str, int], tmp_path: Path) -> None:
    module, x = dense()

    with pytest.raises(ValueError, match=next(iter(fields))):
        of_module(module, x, tmp_path, [{"name": "shapley", **fields}])


def test_intervals_of_exact_values_are_those_over_examples(tmp_path: Path) -> None:
    module, x = dense(8)

    summary, _ = of_module(module, x, tmp_path, [{"name": "shapley", "fill": "zero"}])

    for unit in summary["rankings"][0]["clusters"]["all"]["top"]:
        width = stats.t.ppf(0.975, len(x) - 1) * unit["spread"] / np.sqrt(len(x))
        assert unit["importance_high"] - unit["importance_low"] == pytest.approx(2 * width)


def test_settle_when_the_top_is_clear_then_stops_early_and_else_at_the_last_round(tmp_path: Path) -> None:
    module, x = dense()
    methods = [
        {"name": "shapley", "id": "one", "permutations": 512, "settle": 1, "fill": "zero"},
        {"name": "shapley", "id": "never", "permutations": 20, "settle": 8, "fill": "zero"},
        {"name": "shapley", "id": "whole", "permutations": 20, "fill": "zero"},
        "gradient",
    ]

    summary, arrays = of_module(module, x, tmp_path, methods, fidelity={})

    used = {ranking["id"]: ranking["options"].get("permutations") for ranking in summary["rankings"]}
    assert used["one"] < 512
    assert used["never"] == 20
    np.testing.assert_array_equal(arrays["importance/never"], arrays["importance/whole"])
    top = summary["rankings"][0]["clusters"]["all"]["top"]
    assert top[0]["importance_low"] >= max(unit["importance_high"] for unit in top[1:])


def test_values_when_an_earlier_job_left_them_then_are_reused_to_the_bit_in_each_round(tmp_path: Path) -> None:
    module, x = dense()
    methods = [{"name": "shapley", "permutations": 16, "settle": 8, "fill": "zero"}]
    parts = Memory()
    first, arrays = of_module(module, x, tmp_path, methods, parts=parts)

    again, same = of_module(module, x, tmp_path, methods, parts=parts)

    assert again["cost"]["reused"] == ["shapley"]
    assert again["rankings"][0]["options"] == first["rankings"][0]["options"] == {"permutations": 16}
    for name, array in arrays.items():
        np.testing.assert_array_equal(same[name], array)


@pytest.mark.check
def test_intervals_when_drawn_with_many_seeds_then_cover_the_exact_values() -> None:
    (share,) = shapley(4, 80).values()

    assert 0.92 <= share.count / share.of <= 0.98
