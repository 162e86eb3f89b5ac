"""A job with the target class `each` equals one job for each class, and shares their passes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from tests.engine.in_process import program_of, rank
from tests.engine.nets import net_of, program
from tests.engine.reuse.test_reuse import Memory
from unitrank_engine.errors import EngineError
from unitrank_engine.methods.batch import gradients_of
from unitrank_engine.program import Program
from unitrank_engine.program.proof.uninitialised import filled_memory

COUNT = 24
CLASSES = 3
METHODS: list[Any] = [
    "activation",
    "random",
    {"name": "gradient", "noise": {"samples": 3, "level": 0.1}},
    {"name": "gradient", "id": "plain", "statistic": "rms"},
    "gradient_x_activation",
    "gradient_x_delta",
    {"name": "shapley", "fill": "mean", "permutations": 2},
    {"name": "taylor", "fill": "mean"},
    {"name": "conductance", "steps": 5},
    {"name": "conductance", "id": "left", "steps": 5, "rule": "left", "spacing": "uniform"},
    {"name": "conductance", "id": "adaptive", "steps": 6, "spacing": "adaptive"},
    {"name": "conductance", "id": "half", "steps": 4, "precision": "bf16"},
    {"name": "internal_influence", "steps": 4},
    {"name": "integrated_gradients", "steps": 4},
    "deeplift",
    "exact_ablation",
]
AT_CUTS: list[Any] = [{"name": "conductance", "id": "doubled", "steps": 2, "tolerance": 0.05, "spacing": "uniform"}]
SPATIAL: list[Any] = ["grad_cam"]
TESTS: dict[str, Any] = {"ablation": {"random": 19, "examples": 6}, "fidelity": {}, "keep_examples": 5}
DECIDED_BY_FAMILY = {"p_family", "p_family_worse", "verdict", "robust", "doubts"}

Result = tuple[dict[str, Any], dict[str, np.ndarray]]


def fields(name: str) -> dict[str, np.ndarray]:
    return {"x": net_of(name).examples(COUNT).numpy(), "y": np.arange(COUNT) % CLASSES}


def job(name: str, layer: str, folder: Path, target: Any, methods: list[Any], **request: Any) -> Result:
    options = {"clusters": {"by": "label"}} | TESTS | request
    return rank(program(name), folder, fields(name), layer, methods, target={"class": target}, **options)


def assert_close(value: Any, expected: Any, place: str) -> None:
    """Compare JSON values, numbers to 1e-6."""
    if isinstance(expected, dict):
        names = expected.keys() - DECIDED_BY_FAMILY
        assert value.keys() - DECIDED_BY_FAMILY == names, place
        for name in names:
            assert_close(value[name], expected[name], f"{place}/{name}")
    elif isinstance(expected, list):
        assert len(value) == len(expected), place
        for index, each in enumerate(expected):
            assert_close(value[index], each, f"{place}/{index}")
    elif isinstance(expected, float):
        assert value == pytest.approx(expected, rel=1e-6, abs=1e-6), place
    else:
        assert value == expected, place


def of_class(name: str, number: int, ids: list[str]) -> str:
    """The name of an array in a job with `each`, from its name in the job of one class."""
    return "/".join(f"{part}@{number}" if part in ids else part for part in name.split("/"))


def assert_each_equals_single_jobs(each: Result, singles: list[Result]) -> None:
    rankings = {ranking["id"]: ranking for ranking in each[0]["rankings"]}
    names = set()
    for number, (summary, arrays) in enumerate(singles):
        ids = [ranking["id"] for ranking in summary["rankings"]]
        for single in summary["rankings"]:
            mine = rankings[f"{single['id']}@{number}"]
            assert mine["target_class"] == number
            for part in ("method", "clusters", "overall", "options", "fidelity"):
                want = single[part]
                if part == "fidelity" and want and want["against"]:
                    want = want | {"against": f"{want['against']}@{number}"}
                assert_close(mine[part], want, f"{mine['id']}/{part}")
        for name, array in arrays.items():
            mine_name = of_class(name, number, [*ids, "random", "all_replaced"])
            names.add(mine_name)
            if name.startswith("unit_examples/"):
                # More rankings share the limit, so each of them keeps the examples of fewer units.
                array = array[:, : each[1][mine_name].shape[1]]
            np.testing.assert_allclose(
                each[1][mine_name], array, rtol=1e-6, atol=1e-6 * np.abs(array).max(initial=0), err_msg=mine_name
            )
    assert names == each[1].keys()


@pytest.mark.parametrize(
    ("name", "layer", "more"),
    [
        pytest.param("convolutional", "features.3", [*AT_CUTS, *SPATIAL], marks=pytest.mark.check),
        pytest.param("attentive", "norm", [], marks=pytest.mark.slow),
        pytest.param("residual", "blocks.0.fc1", [], marks=pytest.mark.slow),
    ],
)
def test_each_equals_one_job_for_each_class(name: str, layer: str, more: list[Any], tmp_path: Path) -> None:
    methods = [*METHODS, *more]

    each = job(name, layer, tmp_path, "each", methods)

    singles = [job(name, layer, tmp_path, number, methods) for number in range(CLASSES)]
    assert_each_equals_single_jobs(each, singles)
    ids = [ranking["id"] for ranking in singles[0][0]["rankings"]]
    assert [ranking["id"] for ranking in each[0]["rankings"]] == [f"{id}@{number}" for id in ids for number in range(CLASSES)]
    assert {leader["ranking"]: leader["target_class"] for leader in each[0]["leaderboard"]} == {
        f"{id}@{number}": number for id in ids for number in range(CLASSES)
    }
    for cluster, single in zip(each[0]["clusters"], singles[0][0]["clusters"], strict=True):
        assert cluster == single | {"score": None}


@pytest.mark.check
@pytest.mark.parametrize(
    ("baseline", "kind"),
    [
        ({"kind": "zeros"}, "margin"),
        ({"kind": "mean"}, "probability"),
        ({"kind": "field", "field": "x0"}, "margin"),
        ({"kind": "cluster_mean"}, "logit"),
    ],
)
def test_each_equals_one_job_for_each_class_with_every_baseline_and_score(baseline: Any, kind: str, tmp_path: Path) -> None:
    methods = ["gradient_x_delta", {"name": "conductance", "steps": 3, "rule": "trapezoid", "spacing": "uniform"}, "deeplift"]
    options: dict[str, Any] = {"ablation": None, "fidelity": None, "clusters": {"by": "label"}, "baseline": baseline}
    data = fields("functional")
    data["x0"] = data["x"][::-1] / 2

    def run(choice: Any) -> Result:
        target = {"class": choice, "score": kind}
        return rank(program("functional"), tmp_path, data, "fc1", methods, target=target, **options)

    each = run("each")

    for number in range(CLASSES):
        for name, array in run(number)[1].items():
            mine = each[1][of_class(name, number, [method if isinstance(method, str) else method["name"] for method in methods])]
            np.testing.assert_allclose(mine, array, rtol=1e-6, atol=1e-6 * np.abs(array).max(initial=0), err_msg=name)


@pytest.mark.check
def test_specificity_when_clusters_need_drawn_permutations_then_each_draws_those_of_one_class(tmp_path: Path) -> None:
    members = {str(number): [number, number + 1] for number in range(20)}
    request: dict[str, Any] = {"clusters": {"by": "members", "members": members}, "fidelity": None}
    request["ablation"] = {"random": 1, "orders": ["most"], "check_fill": None, "split": "none"}

    each, single = (job("convolutional", "features.1", tmp_path, target, ["activation"], **request)[0] for target in ("each", 1))

    (ranking,) = (ranking for ranking in each["rankings"] if ranking["id"] == "activation@1")
    assert ranking["specificity"] == single["rankings"][0]["specificity"]
    assert len(ranking["specificity"]["selectivity"]) > 7


def test_forward_passes_of_all_classes_are_those_of_one(tmp_path: Path) -> None:
    methods = [
        "activation",
        "random",
        "gradient",
        {"name": "conductance", "steps": 5, "spacing": "uniform"},
        "deeplift",
        "exact_ablation",
    ]
    options: dict[str, Any] = {"ablation": None, "fidelity": None}
    one, _ = job("functional", "fc1", tmp_path, 0, methods, **options)

    each, _ = job("functional", "fc1", tmp_path, "each", methods, **options)

    assert each["cost"]["forward_rows"] == one["cost"]["forward_rows"]
    assert each["cost"]["backward_rows"] == CLASSES * one["cost"]["backward_rows"]


class Steep(nn.Module):
    """Two classes: one is linear in x, the other rises steeply at one point of the path."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc = nn.Linear(4, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.fc(x)
        return torch.stack([h.sum(1), torch.sigmoid(400 * (h.sum(1) - 0.37))], 1)


@pytest.mark.check
def test_spacing_when_only_one_class_needs_adaptive_points_then_only_this_class_has_them(tmp_path: Path) -> None:
    net, x = program_of(Steep(), torch.randn(2, 4)), np.random.default_rng(0).normal(size=(80, 4)).astype(np.float32) * 3
    options: dict[str, Any] = {"ablation": None, "fidelity": None, "keep_examples": 80}
    methods = ["gradient", "conductance"]

    summary, arrays = rank(net, tmp_path, {"x": x}, "fc", methods, target={"class": "each"}, **options)

    singles = [rank(net, tmp_path, {"x": x}, "fc", methods, target={"class": number}, **options) for number in (0, 1)]
    assert_each_equals_single_jobs((summary, arrays), singles)
    spacing = {ranking["id"]: ranking["method"].get("spacing") for ranking in summary["rankings"]}
    assert (spacing["conductance@0"], spacing["conductance@1"]) == ("cubic", "adaptive")


@pytest.mark.check
@pytest.mark.parametrize("size", [1, 2])
def test_each_when_not_all_classes_fit_in_memory_together_then_groups_give_the_same(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit_rows: Callable[[int], None]
) -> None:
    limit_rows(8)
    methods = ["gradient", {"name": "conductance", "steps": 3}]
    _, expected = job("functional", "fc1", tmp_path, "each", methods)
    monkeypatch.setattr("unitrank_engine.reuse.main_pass.SUM_BYTES", size * 2 * (8 * 8 * 5 * 4 + 3 * 8 * 32 * 8))

    _, arrays = job("functional", "fc1", tmp_path, "each", methods)

    for name, array in expected.items():
        np.testing.assert_array_equal(arrays[name], array, err_msg=name)


@pytest.mark.check
def test_single_job_after_each_reuses_its_class(tmp_path: Path) -> None:
    store = Memory()
    methods = ["activation", "random", {"name": "conductance", "steps": 3}]
    each = job("functional", "fc1", tmp_path, "each", methods, parts=store)

    single = job("functional", "fc1", tmp_path, 1, methods, parts=store)
    again = job("functional", "fc1", tmp_path, "each", methods, parts=store)

    assert single[0]["cost"]["reused"] == ["controls", "activation", "random", "conductance"]
    ids = [f"{id}@{number}" for number in range(CLASSES) for id in ("activation", "random", "conductance")]
    assert again[0]["cost"]["reused"] == ["controls", *ids]
    for name, array in each[1].items():
        np.testing.assert_array_equal(again[1][name], array, err_msg=name)


@pytest.mark.check
def test_each_after_the_job_of_one_class_computes_the_others(tmp_path: Path) -> None:
    store = Memory()
    methods = ["gradient", {"name": "conductance", "steps": 3}]
    job("functional", "fc1", tmp_path, 1, methods, parts=store)

    mixed = job("functional", "fc1", tmp_path, "each", methods, parts=store)

    _, expected = job("functional", "fc1", tmp_path, "each", methods)
    assert mixed[0]["cost"]["reused"] == ["gradient@1", "conductance@1"]
    for name, array in expected.items():
        np.testing.assert_array_equal(mixed[1][name], array, err_msg=name)


class Steepest(nn.Module):
    """Class 1 has an infinite gradient."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = x * 1.0
        return torch.stack([h.sum(1), h.sum(1) * 1e30 * 1e30], 1)


def test_error_of_one_class_names_its_ranking_and_the_entries_that_finished(tmp_path: Path) -> None:
    net: Program = program_of(nn.Sequential(nn.Identity(), Steepest()), torch.ones(2, 3))
    x = np.zeros((6, 3), np.float32)

    with pytest.raises(
        EngineError, match=r"ranking 'gradient@1': .* repeat the request without 'gradient' to get 'activation'"
    ) as caught:
        rank(net, tmp_path, {"x": x}, "input", ["activation", "gradient"], target={"class": "each"}, ablation=None, fidelity=None)

    assert caught.value.ranking == "gradient@1"
    assert caught.value.finished == ("activation@0", "gradient@0", "activation@1")


class Recorded(torch.autograd.Function):
    """The identity; its backward pass records whether new memory is filled."""

    fills: ClassVar[list[bool]] = []

    @staticmethod
    def forward(ctx: Any, h: torch.Tensor) -> torch.Tensor:  # Any: the class has no public name.
        return h.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        Recorded.fills.append(bool(torch.empty(1000).isnan().all()))
        return gradients[0]


def test_backward_passes_of_all_classes_when_they_share_a_forward_pass_then_only_the_first_fills_new_memory() -> None:
    h = torch.ones(2, 3, requires_grad=True)
    output = Recorded.apply(h) * torch.tensor([1.0, 2.0, 3.0])  # type: ignore[no-untyped-call]
    Recorded.fills.clear()

    with filled_memory():
        gradients = list(gradients_of([output[:, number] for number in range(CLASSES)], h))

    assert Recorded.fills == [True, False, False]
    for number, gradient in enumerate(gradients):
        assert gradient.tolist() == [[(number + 1.0) * (unit == number) for unit in range(3)]] * 2
