"""Each warning appears where its condition holds, and not elsewhere."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.engine.ablation.nets import Weighted
from tests.engine.in_process import program_of, rank
from unitrank_engine.program import Program


@cache
def weighted(*weights: tuple[float, ...]) -> Program:
    return program_of(Weighted(*(list(row) for row in weights)), torch.ones(2, len(weights[0]), dtype=torch.float64))


@cache
def curved() -> Program:
    torch.manual_seed(0)
    return program_of(nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 5), nn.Tanh(), nn.Linear(5, 3)), torch.ones(2, 3))


def warned(summary: dict[str, Any], code: str) -> list[tuple[str | None, str | None]]:
    """Cluster and ranking of each warning of this code."""
    return [(warning["cluster"], warning["ranking"]) for warning in summary["warnings"] if warning["code"] == code]


NOISE = np.random.default_rng(0).standard_normal((12, 3)).astype(np.float32)


def job(folder: Path, methods: list[Any], x: np.ndarray = NOISE, layer: str = "1", **request: Any) -> dict[str, Any]:
    fields = {"x": x} | request.pop("fields", {})
    return rank(curved(), folder, fields, layer, methods, **{"ablation": None, "fidelity": None, **request})[0]


@pytest.mark.parametrize(("split", "expected"), [("none", [(None, None)]), ("half", []), ("group", [])])
def test_in_sample_when_ranking_and_test_share_examples_then_there_is_a_warning(
    split: str, expected: list[Any], tmp_path: Path
) -> None:
    summary = job(tmp_path, ["activation"], fields={"group": np.arange(12) // 2}, ablation={"split": split, "random": 2})

    assert warned(summary, "in_sample") == expected


def test_hardly_tested_when_the_split_leaves_fewer_than_two_examples_then_there_is_a_warning(tmp_path: Path) -> None:
    members = {"apart": [0, 1, 2, 3], "alone": [4], "pair": [5, 6], "four": [7, 8, 9, 10]}
    groups = np.array([0, 0, 0, 0, *range(1, 9)])

    summary = job(
        tmp_path,
        ["activation"],
        fields={"group": groups},
        clusters={"by": "members", "members": members},
        ablation={"split": "group", "random": 2},
    )

    assert warned(summary, "hardly_tested") == [("apart", None), ("alone", None), ("pair", None)]


def test_few_tests_when_every_cluster_has_one_test_example_then_it_is_a_doubt(tmp_path: Path) -> None:
    members = {str(number): [2 * number, 2 * number + 1] for number in range(5)}

    summary = job(
        tmp_path, ["activation"], clusters={"by": "members", "members": members}, ablation={"random": 19, "level": 0.1}, seed=2
    )

    assert warned(summary, "few_tests") == [(name, None) for name in members]
    assert summary["rankings"][0]["overall"]["verdict"] == "better_than_random"
    assert "few_tests" in summary["rankings"][0]["overall"]["doubts"]


@pytest.mark.check
def test_better_verdict_when_one_example_decides_it_then_there_is_a_doubt(tmp_path: Path) -> None:
    x = 0.01 * np.random.default_rng(1).uniform(size=(20, 24))
    many, one = x.copy(), x.copy()
    many[:, 0], one[3, 0] = 1.0, 1.0
    method = {"name": "given", "id": "mine", "importance": list(range(24, 0, -1)), "made_on": "none"}

    summaries = {
        name: rank(
            weighted((1.0,) * 24, (0.0,) * 24), tmp_path, {"x": values}, "act", [method], fidelity=None, target={"class": 0}
        )[0]
        for name, values in {"many": many, "one": one}.items()
    }

    overall = {name: summary["rankings"][0]["overall"] for name, summary in summaries.items()}
    assert [each["verdict"] for each in overall.values()] == ["better_than_random"] * 2
    assert warned(summaries["many"], "varies_between_examples") == []
    assert warned(summaries["one"], "varies_between_examples") == [(None, "mine")]
    assert "varies_between_examples" not in overall["many"]["doubts"]
    assert "varies_between_examples" in overall["one"]["doubts"]


@pytest.mark.parametrize(
    ("layer", "score", "expected"),
    [
        ("3", "logit", True),
        ("3", "centered", True),
        ("3", "margin", True),
        ("3", "probability", False),
        ("3", "log_probability", False),
        ("2", "logit", False),
        ("1", "logit", False),
        ("4", "logit", True),
    ],
)
def test_last_hidden_layer_when_all_later_layers_are_linear_then_there_is_a_warning(
    layer: str, score: str, expected: bool, tmp_path: Path
) -> None:
    summary = job(tmp_path, ["gradient_x_delta"], layer=layer, target={"class": 0, "score": score})

    assert bool(warned(summary, "last_hidden_layer")) is expected


class Bypassed(nn.Module):
    """A hidden layer with a linear layer behind it, and a curved path around both."""

    def __init__(self) -> None:
        super().__init__()
        self.act, self.out, self.around = nn.ReLU(), nn.Linear(3, 3), nn.Tanh()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.out(self.act(x)) + self.around(x)
        return out


def test_last_hidden_layer_when_values_bypass_it_then_there_is_no_warning(tmp_path: Path) -> None:
    fields = {"x": np.ones((4, 3), np.float32)}
    summary, _ = rank(program_of(Bypassed(), torch.ones(2, 3)), tmp_path, fields, "act", ["gradient_x_delta"], target={"class": 0})

    assert warned(summary, "last_hidden_layer") == []


@pytest.mark.parametrize(
    ("methods", "ablation", "fidelity", "expected"),
    [
        (["conductance"], "mean", None, True),
        (["gradient_x_delta"], "resample", "baseline", True),
        (["gradient_x_delta"], None, "zero", True),
        (["gradient_x_delta"], "baseline", "baseline", False),
        (["gradient", "random"], "mean", "mean", False),
        (["conductance"], None, None, False),
    ],
)
def test_fill_differs_when_methods_explain_the_distance_from_a_baseline_then_there_is_a_warning(
    methods: list[str], ablation: str | None, fidelity: str | None, expected: bool, tmp_path: Path
) -> None:
    summary = job(
        tmp_path, methods,
        ablation=ablation and {"fill": ablation, "random": 1, "check_fill": None}, fidelity=fidelity and {"fill": fidelity},
    )  # fmt: skip

    assert bool(warned(summary, "fill_differs_from_baseline")) is expected


def test_baseline_in_cluster_when_an_example_equals_its_baseline_then_the_warning_names_the_cluster(tmp_path: Path) -> None:
    x = NOISE.copy()
    x[4] = 0
    members = {"by": "members", "members": {"a": [0, 1, 2], "b": [3, 4, 5]}}
    zeros = job(tmp_path, ["activation"], x, clusters=members)
    example = job(tmp_path, ["activation"], NOISE, clusters=members, baseline={"kind": "example", "index": 1})
    none = job(tmp_path, ["activation"], x, clusters=members, baseline={"kind": "mean"})

    assert warned(zeros, "baseline_in_cluster") == [("b", None)]
    assert warned(example, "baseline_in_cluster") == [("a", None)]
    assert warned(none, "baseline_in_cluster") == []


def test_mixed_targets_when_examples_are_explained_for_several_classes_then_the_cluster_is_named(tmp_path: Path) -> None:
    fields = {"y": np.array([0, 0, 1, 2, 2, 2, 0, 0, 0, 0, 0, 0])}
    members = {"by": "members", "members": {"a": [0, 1, 2], "b": [3, 4, 5]}}

    assert warned(job(tmp_path, ["activation"], fields=fields, clusters=members), "mixed_targets") == [("a", None)]
    assert warned(job(tmp_path, ["activation"], fields=fields, clusters={"by": "label"}), "mixed_targets") == []
    assert warned(job(tmp_path, ["activation"], fields=fields, clusters=members, target={"class": 1}), "mixed_targets") == []


@pytest.mark.parametrize(("flat", "expected"), [(2, False), (3, True), (4, True)])
def test_saturated_when_more_than_half_of_the_gradients_are_zero_then_there_is_a_warning(
    flat: int, expected: bool, tmp_path: Path
) -> None:
    # A ReLU after the layer is zero for large inputs; 2 of 4 examples are not more than half.
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 2))
    for index in (0, 1):
        assert isinstance(net[index], nn.Linear)
        nn.init.constant_(net[index].weight, -1.0 if index else 1.0)
        nn.init.ones_(net[index].bias)
    x = np.full((4, 3), -1.0, dtype=np.float32)
    x[:flat] = 5.0
    first_order = ["gradient", "gradient_x_activation", "gradient_x_delta", "taylor"]
    methods = [*first_order, "activation", "random", {"name": "conductance", "steps": 4}]
    summary, _ = rank(
        program_of(net, torch.ones(2, 3)), tmp_path, {"x": x}, "0", methods, ablation=None, fidelity=None, target={"class": 0}
    )

    concerned = [("all", name) for name in first_order]
    assert warned(summary, "saturated") == (concerned if expected else [])


# h ≥ 0, so scores of both signs need weights of both signs: the two classes have opposite weights,
# and examples of both are mixed.
OPPOSITE = ((1.0, 1.0), (-1.0, -1.0))


@pytest.mark.parametrize(
    ("positive", "cancellation", "expected"),
    # Ten scores of equal size: 6:4 cancel 0.8; 8:2 cancel 0.4, which is above the noise; 10:0
    # cancel 0.
    [(5, 1.0, True), (6, 0.8, True), (7, 0.6, True), (8, 0.4, False), (10, 0.0, False)],
)
def test_signed_cancellation_when_scores_cancel_then_means_are_warned_of_and_sizes_are_not(
    positive: int, cancellation: float, expected: bool, tmp_path: Path
) -> None:
    fields = {"x": np.ones((10, 2)), "y": (np.arange(10) >= positive).astype(np.int64)}
    methods = ["gradient_x_activation", *({"name": "gradient_x_activation", "statistic": name} for name in ("mean_abs", "rms"))]
    summary, _ = rank(weighted(*OPPOSITE), tmp_path, fields, "act", methods, ablation=None, fidelity=None)

    # The number is of the signed scores, for every statistic.
    assert [ranking["clusters"]["all"]["cancellation"] for ranking in summary["rankings"]] == [pytest.approx(cancellation)] * 3
    assert warned(summary, "signed_cancellation") == ([("all", "gradient_x_activation")] if expected else [])


def test_signed_cancellation_when_the_mean_is_no_larger_than_that_of_noise_then_there_is_a_warning(tmp_path: Path) -> None:
    # 3 of 4: the cancellation 0.5 is below 0.6, but the rest 0.5 ≤ 1.5 · √(2 / (4π)) = 0.598.
    fields = {"x": np.ones((4, 2)), "y": np.array([0, 0, 0, 1])}
    summary, _ = rank(weighted(*OPPOSITE), tmp_path, fields, "act", ["gradient_x_activation"], ablation=None, fidelity=None)

    assert summary["rankings"][0]["clusters"]["all"]["cancellation"] == pytest.approx(0.5)
    assert warned(summary, "signed_cancellation") == [("all", "gradient_x_activation")]


def test_signed_cancellation_when_there_is_one_example_then_it_is_null(tmp_path: Path) -> None:
    summary, _ = rank(
        weighted(*OPPOSITE), tmp_path, {"x": np.ones((1, 2)), "y": np.array([1])}, "act", ["gradient_x_activation"],
        ablation=None, fidelity=None,
    )  # fmt: skip

    assert summary["rankings"][0]["clusters"]["all"]["cancellation"] is None
    assert warned(summary, "signed_cancellation") == []


@pytest.mark.parametrize(("check", "random", "seed"), [("mean", 39, 2), ("resample", 39, 0), ("baseline", 39, 0), ("mean", 99, 0)])
def test_verdict_depends_on_fill_when_a_job_with_the_other_fill_differs_then_just_there(
    check: str, random: int, seed: int, tmp_path: Path
) -> None:
    x = np.random.default_rng(0).standard_normal((120, 3)).astype(np.float32)
    members = {"by": "members", "members": {str(index): list(range(20 * index, 20 * index + 20)) for index in range(6)}}
    request: dict[str, Any] = {"clusters": members, "target": {"class": 0}, "baseline": {"kind": "constant", "value": 0.5}}
    request["seed"] = seed
    options = {"fractions": [0.25, 0.5], "random": random}
    checked = job(tmp_path, ["gradient"], x, ablation=options | {"fill": "zero", "check_fill": check}, **request)["warnings"]
    # The test that checks has at most the first 39 of the random permutations.
    with_zero, with_check = (
        job(tmp_path, ["gradient"], x, ablation=options | {"check_fill": None} | changes, **request)["rankings"][0]
        for changes in ({"fill": "zero"}, {"fill": check, "random": 39})
    )
    differ = [
        name
        for name, cluster in with_zero["clusters"].items()
        if _contradict(cluster["ablation"], with_check["clusters"][name]["ablation"], "p_value", "p_worse")
    ]
    expected = [*differ, None] if _contradict(with_zero["overall"], with_check["overall"], "p_family", "p_family_worse") else differ

    verdicts = [
        name for name in with_zero["clusters"] if _verdict(with_zero["clusters"][name]) != _verdict(with_check["clusters"][name])
    ]
    assert differ
    # With few random permutations, some verdicts differ though the p-values are close.
    assert (len(verdicts) > len(differ)) == (random == 39)
    depending = [warning for warning in checked if warning["code"] == "verdict_depends_on_fill"]
    assert [warning["cluster"] for warning in depending] == expected
    for warning in depending:
        other = with_check["clusters"].get(warning["cluster"])
        p, area = (
            (other["ablation"]["p_value"], other["ablation"]["most"]["area"])
            if other
            else (with_check["overall"]["p_family"], with_check["overall"]["area"])
        )
        assert f"instead of 'zero' (p = {p:.2g}" + ("" if area is None else f", area {area:.4g}") + ")" in warning["detail"]


def _verdict(cluster: dict[str, Any]) -> str:
    return str(cluster["ablation"]["verdict"])


def _contradict(ours: dict[str, Any], theirs: dict[str, Any], better: str, worse: str) -> bool:
    """Whether the verdicts differ, and one of the p-values by a factor above 5."""
    ratios = [ours[name] / theirs[name] for name in (better, worse)]
    return bool(ours["verdict"] != theirs["verdict"]) and any(ratio > 5 or ratio < 1 / 5 for ratio in ratios)


def test_last_hidden_layer_when_two_places_are_one_value_then_the_warning_names_the_requested_layer(tmp_path: Path) -> None:
    # The output of '3' is the input of '4', and the graph is split once for both.
    job(tmp_path, ["activation"], layer="4", at="input")
    summary = job(tmp_path, ["activation"], layer="3")

    (detail,) = [warning["detail"] for warning in summary["warnings"] if warning["code"] == "last_hidden_layer"]
    assert detail.startswith("the model is linear after layer '3', ")
