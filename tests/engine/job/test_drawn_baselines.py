"""The baseline `examples`: every score is the mean over drawn rows.

The oracle is the mean of jobs with a single row each, whose kinds have oracles of their own.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.engine.in_process import program_of, rank
from tests.engine.job.test_passes import Nodes, comparable
from tests.engine.reuse.test_reuse import Memory
from unitrank_engine.attribution import path_ends
from unitrank_engine.attribution.baselines import agreement
from unitrank_engine.attribution.baselines.agreement import rank_correlations
from unitrank_engine.errors import EngineError
from unitrank_engine.job import baselines, batch_size
from unitrank_engine.program import Program

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(24, 1, 6, 6)).astype(np.float32)
Y = RANDOM.integers(0, 3, 24)
DARK = np.arange(24) % 3 == 0
COUNT = 4
NO_TESTS: dict[str, Any] = {"ablation": None, "fidelity": None, "keep_examples": 24}
METHODS: list[Any] = [
    "gradient_x_delta",
    {"name": "gradient_x_delta", "at_point": "baseline", "id": "at_baseline"},
    {"name": "gradient_x_delta", "at_point": "mean", "id": "at_mean", "statistic": "rms"},
    {"name": "conductance", "steps": 5},
    {"name": "conductance", "spacing": "adaptive", "id": "adaptive", "steps": 6},
    # A job chooses an open spacing by its examples and baselines.
    {"name": "conductance", "tolerance": 0.1, "spacing": "uniform", "steps": 4, "id": "refined"},
    {"name": "integrated_gradients", "steps": 4},
    {"name": "internal_influence", "steps": 4, "statistic": "mean_abs"},
    "deeplift",
    {"name": "deeplift", "rules": "rescale", "id": "rescale"},
    {"name": "deeplift", "rules": "reveal_cancel", "id": "reveal_cancel"},
]
IDS = [each if isinstance(each, str) else each.get("id", each["name"]) for each in METHODS]
IDS[IDS.index("internal_influence")] += ".mean_abs"


class Small(nn.Module):
    """Convolution, ReLU, max pooling, a second convolution, tanh and a dense layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.head = nn.Conv2d(1, 3, 3), nn.Conv2d(3, 4, 2), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.max_pool2d(torch.relu(self.first(x)), 2)
        out: Tensor = self.head(torch.tanh(self.second(h)).flatten(1))
        return out


@cache
def small() -> Program:
    return program_of(Small(), torch.randn(2, 1, 6, 6))


def job(folder: Path, baseline: dict[str, Any], **request: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    options = {"methods": METHODS, "clusters": {"by": "label"}, **NO_TESTS} | request
    return rank(small(), folder, {"x": X, "y": Y, "dark": DARK}, "first", options.pop("methods"), baseline=baseline, **options)


def single(folder: Path, rows: np.ndarray, **request: Any) -> list[dict[str, np.ndarray]]:
    return [job(folder, {"kind": "example", "index": int(row)}, **request)[1] for row in rows]


def check_means(folder: Path, chosen: range, **request: Any) -> None:
    """The scores of the chosen methods equal the mean of those of jobs with one row each."""
    request["methods"] = [METHODS[index] for index in chosen]
    summary, arrays = job(folder, {"kind": "examples", "count": COUNT}, **request)

    of_rows = single(folder, arrays["baseline_rows"], **request)
    assert len(np.unique(arrays["baseline_rows"])) == COUNT
    assert [ranking["id"] for ranking in summary["rankings"]] == [IDS[index] for index in chosen]
    for name in [name for name in arrays if name.startswith("examples/")]:
        expected = np.mean([each[name] for each in of_rows], axis=0, dtype=np.float64)
        np.testing.assert_allclose(arrays[name], expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.check
def test_scores_are_the_mean_of_jobs_with_one_row_each(tmp_path: Path) -> None:
    check_means(tmp_path, range(len(METHODS)), clusters={"by": "label", "limit": 3})


def test_scores_in_small_batches_are_the_mean_of_jobs_with_one_row_each(tmp_path: Path, limit_rows: Callable[[int], None]) -> None:
    limit_rows(7)

    check_means(tmp_path, range(3), clusters={"by": "all"})


def test_expected_change_is_that_from_the_mean_of_the_targets_at_the_drawn_rows(tmp_path: Path) -> None:
    summary, arrays = job(tmp_path, {"kind": "examples", "count": COUNT}, methods=["deeplift"])

    net = Small().double()
    logits, start = (net(torch.from_numpy(rows.astype(np.float64))) for rows in (X, X[arrays["baseline_rows"]]))
    for cluster, of_cluster in summary["rankings"][0]["clusters"].items():
        label = int(cluster)
        expected = logits[torch.from_numpy(Y) == label, label].mean() - start[:, label].mean()
        assert of_cluster["completeness"]["expected"] == pytest.approx(expected.item(), abs=1e-5)
        assert of_cluster["completeness"]["sum"] == pytest.approx(expected.item(), abs=1e-5)


@pytest.mark.parametrize("name", ["exact_ablation", "taylor"])
def test_fill_is_the_mean_of_the_values_at_the_drawn_rows(name: str, tmp_path: Path) -> None:
    summary, arrays = job(
        tmp_path, {"kind": "examples", "count": COUNT}, methods=[name, "activation"], clusters={"by": "all"},
        ablation={"random": 19, "split": "none", "check_fill": None}, fidelity={"fraction": 0.2},
    )  # fmt: skip

    net = Small().double()
    start = net.first(torch.from_numpy(X[arrays["baseline_rows"]].astype(np.float64))).mean(0)
    h = net.first(torch.from_numpy(X.astype(np.float64))).detach().requires_grad_()

    def target(values: Tensor) -> Tensor:
        hidden = torch.tanh(net.second(torch.max_pool2d(torch.relu(values), 2))).flatten(1)
        return net.head(hidden)[torch.arange(len(values)), torch.from_numpy(Y)]

    if name == "taylor":
        expected = ((h - start) * torch.autograd.grad(target(h).sum(), h)[0]).detach() ** 2
    else:
        masks = torch.eye(48, dtype=torch.bool).reshape(48, 3, 4, 4)
        expected = torch.stack([target(h) - target(torch.where(mask, start, h)) for mask in masks], 1).reshape(h.shape)
    np.testing.assert_allclose(arrays[f"examples/{name}/all"], expected.detach(), atol=1e-5)
    all_replaced = summary["rankings"][0]["clusters"]["all"]["ablation"]["most"]
    assert all_replaced["area"] is None or np.isfinite(all_replaced["area"])
    drop = target(h) - target(start.expand_as(h))
    np.testing.assert_allclose(np.sort(arrays["tests/all_replaced"]), np.sort(drop.detach().numpy()), atol=1e-5)


def test_rows_are_drawn_by_the_seed_from_the_jobs_examples_or_the_marked_rows(tmp_path: Path) -> None:
    def drawn(layer: str = "first", **request: Any) -> list[int]:
        baseline = {"kind": "examples", "count": 6} | request.pop("baseline", {})
        _, arrays = rank(
            small(), tmp_path, {"x": X, "y": Y, "dark": DARK}, layer, ["gradient"], baseline=baseline, **NO_TESTS, **request
        )
        return list(arrays["baseline_rows"])

    of_few = {"by": "members", "members": {"a": [1, 4, 7, 9], "b": [9, 20, 23]}}
    assert set(drawn(clusters=of_few)) == {1, 4, 7, 9, 20, 23}
    assert all(DARK[drawn(baseline={"where": "dark"})])
    assert drawn() == drawn(layer="second") == drawn(units="channel") != drawn(seed=1)


def test_too_few_rows_when_only_the_job_can_count_them_then_it_says_how_many_there_are(tmp_path: Path) -> None:
    members = {"by": "members", "members": {"a": [0, 1], "b": [1, 2]}}
    with pytest.raises(
        EngineError, match="4 rows cannot be drawn from the job's 3 examples; use a smaller `count`, or more examples"
    ) as caught:
        job(tmp_path, {"kind": "examples", "count": 4}, clusters=members)
    assert caught.value.code == "too_few_examples"
    with pytest.raises(EngineError, match="20 rows cannot be drawn where field 'dark' is true, because it is true in 8"):
        job(tmp_path, {"kind": "examples", "count": 20, "where": "dark"})


class Two(nn.Module):
    """Two inputs whose product is held or moves."""

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        total = (torch.tanh(x) * other).sum(1, keepdim=True)
        return torch.cat([total, -total], 1)


@cache
def two() -> Program:
    return program_of(Two(), torch.randn(2, 3), torch.randn(2, 3))


@pytest.mark.check
@pytest.mark.parametrize(
    "options",
    [{"hold": ["other"]}, {"inputs": {"other": {"kind": "mean"}}}, {"inputs": {"other": {"kind": "examples", "count": COUNT}}}, {}],
    ids=["hold", "own mean", "own draw", "both"],
)
def test_held_inputs_and_inputs_with_their_own_baseline_equal_single_jobs(options: dict[str, Any], tmp_path: Path) -> None:
    fields = {"x": X[:, 0, 0, :3], "other": X[:, 0, 1, :3]}

    def of(baseline: dict[str, Any]) -> dict[str, np.ndarray]:
        return rank(
            two(), tmp_path, fields, "input:x", ["gradient_x_delta", {"name": "conductance", "steps": 3}, "deeplift"],
            inputs={"x": "x", "other": "other"}, target={"class": 0}, baseline=baseline, **NO_TESTS,
        )[1]  # fmt: skip

    arrays = of({"kind": "examples", "count": COUNT, **options})

    rows = [{"kind": "example", "index": int(row)} for row in arrays["baseline_rows"]]
    own = options.get("inputs", {}).get("other", {}).get("kind") == "examples"
    singles = [of(row | options | ({"inputs": {"other": row}} if own else {})) for row in rows]
    for id in ("gradient_x_delta", "conductance", "deeplift"):
        expected = np.mean([each[f"examples/{id}/all"] for each in singles], axis=0)
        np.testing.assert_allclose(arrays[f"examples/{id}/all"], expected, rtol=1e-5, atol=1e-6)
    if own:
        np.testing.assert_array_equal(arrays["baseline_rows/other"], arrays["baseline_rows"])


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words, self.act, self.head = nn.Embedding(9, 4), nn.Tanh(), nn.Linear(4, 2)

    def forward(self, ids: Tensor) -> Tensor:
        out: Tensor = self.head(self.act(self.words(ids)).mean(1))
        return out


@pytest.mark.check
def test_looked_up_vectors_are_those_of_the_drawn_rows(tmp_path: Path) -> None:
    program = program_of(Words(), torch.ones(2, 5, dtype=torch.long))
    ids = RANDOM.integers(0, 9, (12, 5))

    def of(baseline: dict[str, Any]) -> dict[str, np.ndarray]:
        methods = ["gradient_x_delta", {"name": "conductance", "steps": 3}]
        return rank(
            program,
            tmp_path,
            {"ids": ids},
            "act",
            methods,
            inputs={"ids": "ids"},
            baseline=baseline,
            target={"class": 0},
            **NO_TESTS,
        )[1]

    arrays = of({"kind": "examples", "count": COUNT})

    singles = [of({"kind": "example", "index": int(row)}) for row in arrays["baseline_rows"]]
    for id in ("gradient_x_delta", "conductance"):
        expected = np.mean([each[f"examples/{id}/all"] for each in singles], axis=0)
        np.testing.assert_allclose(arrays[f"examples/{id}/all"], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.check
@pytest.mark.parametrize("target", [{"class": "each"}, {"class": "label", "against": 0}], ids=["each", "against"])
def test_each_class_and_a_class_to_compare_with_equal_single_jobs(target: dict[str, Any], tmp_path: Path) -> None:
    request = {"target": target, "methods": ["gradient_x_delta", {"name": "conductance", "steps": 3}, "deeplift"]}

    _, arrays = job(tmp_path, {"kind": "examples", "count": COUNT}, **request)

    singles = single(tmp_path, arrays["baseline_rows"], **request)
    names = [name for name in arrays if name.startswith("examples/")]
    assert len(names) == (27 if target["class"] == "each" else 9)
    for name in names:
        expected = np.mean([each[name] for each in singles], axis=0)
        np.testing.assert_allclose(arrays[name], expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.check
def test_agreement_is_the_mean_rank_correlation_of_single_jobs(tmp_path: Path) -> None:
    methods = ["gradient_x_delta", "deeplift", {"name": "deeplift", "statistic": "rms"}, "gradient"]
    summary, arrays = job(tmp_path, {"kind": "examples", "count": COUNT}, methods=methods)

    singles = single(tmp_path, arrays["baseline_rows"], methods=methods)
    for ranking in summary["rankings"][:3]:
        importances = np.stack([each[f"importance/{ranking['id']}"] for each in singles]).astype(np.float64)
        np.testing.assert_allclose(arrays[f"baseline_spread/{ranking['id']}"], importances.std(0, ddof=1), rtol=1e-3, atol=1e-6)
        for index, of_cluster in enumerate(ranking["clusters"].values()):
            mean, lowest = rank_correlations(importances[:, index])
            expected = {"followed": COUNT, "agreement": pytest.approx(mean, abs=1e-3), "lowest": pytest.approx(lowest, abs=1e-3)}
            assert of_cluster["baselines"] == expected
    assert summary["rankings"][3]["clusters"]["0"]["baselines"] is None
    assert "baseline_spread/gradient" not in arrays
    assert job(tmp_path, {"kind": "mean"}, methods=methods)[0]["rankings"][0]["clusters"]["0"]["baselines"] is None


def test_baselines_that_give_other_rankings_are_warned_about(tmp_path: Path) -> None:
    # F is the sum of x, so a score is x − x′, and the examples are equal: the baseline decides.
    x = RANDOM.normal(size=(12, 30)).astype(np.float32)
    program = program_of(Total(), torch.randn(2, 30))
    clusters = {"by": "members", "members": {"a": list(range(12))}}
    request = {"clusters": clusters, "target": {"class": 0}, "baseline": {"kind": "examples", "count": 5}} | NO_TESTS

    summary, _ = rank(program, tmp_path, {"x": x * [1e-3] + 1}, "input", ["gradient_x_delta"], **request)
    agreeing, _ = rank(
        program, tmp_path, {"x": x * 1e-3 + np.arange(12)[:, None] * np.arange(30)}, "input", ["activation"], **request
    )

    (warning,) = [each for each in summary["warnings"] if each["code"] == "baselines_disagree"]
    assert (warning["cluster"], warning["ranking"]) == ("a", "gradient_x_delta")
    assert "the rankings by 5 single baselines differ (mean rank correlation" in warning["detail"]
    assert "draw more rows with `count`, or rows of one kind with `where`" in warning["detail"]
    assert not [each for each in agreeing["warnings"] if each["code"] == "baselines_disagree"]


class Total(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        total = x.sum(1, keepdim=True)
        return torch.cat([total, -total], 1)


def test_agreement_of_baselines_that_rank_no_unit_is_not_defined() -> None:
    assert np.isnan(rank_correlations(np.ones((3, 5)))).all()


@pytest.mark.check
def test_job_on_two_nodes_and_a_job_that_reuses_parts_have_the_bits_of_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_size, "RANGE_OPERATIONS", {"cpu": 1, "cuda": 1})
    monkeypatch.setattr(batch_size, "ROWS_PER_CLUSTER", 1)
    monkeypatch.setitem(batch_size.LIMITS, "cpu", (8, 8))
    request: dict[str, Any] = {
        "methods": ["deeplift", {"name": "conductance", "steps": 2}, "exact_ablation"],
        "ablation": {"random": 2, "fractions": [0.2], "check_fill": "mean", "specificity": False, "sanity": "permute_tail"},
        "fidelity": {"fraction": 0.2},
        "keep_examples": 2,
    }
    baseline, parts = {"kind": "examples", "count": COUNT, "where": "dark"}, Memory()
    expected = job(tmp_path, baseline, parts=parts, **request)

    def on_node(node: Any) -> Any:  # Any: a runner of the tests
        folder = tmp_path / str(node.number)
        folder.mkdir()
        return job(folder, baseline, runner=node, **request)

    reused = job(tmp_path, baseline, parts=parts, **request)
    for summary, arrays in [*Nodes(2).run(on_node), reused]:
        assert set(arrays) == set(expected[1])
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, expected[1][name], err_msg=name)
        assert comparable(summary)["rankings"] == comparable(expected[0])["rankings"]
    assert "deeplift" in reused[0]["cost"]["reused"]


@pytest.mark.check
def test_values_at_baselines_when_they_do_not_fit_then_they_are_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    methods = ["gradient_x_delta", "deeplift", {"name": "conductance", "steps": 2}]
    _, expected = job(tmp_path, {"kind": "examples", "count": COUNT}, methods=methods)
    monkeypatch.setattr(baselines, "KEPT_BYTES", 0)
    monkeypatch.setattr(path_ends, "KEPT_BYTES", 0)
    monkeypatch.setattr(agreement, "MOST_BYTES", 0)

    summary, arrays = job(tmp_path, {"kind": "examples", "count": COUNT}, methods=methods)

    for name in set(expected) - {f"baseline_spread/{id}" for id in ("gradient_x_delta", "deeplift", "conductance")}:
        np.testing.assert_array_equal(arrays[name], expected[name])
    assert "baseline_spread/deeplift" not in arrays
    assert summary["rankings"][0]["clusters"]["0"]["baselines"] is None


def test_baseline_that_no_input_has_draws_no_rows(tmp_path: Path) -> None:
    baseline = {"kind": "examples", "count": 3, "inputs": {"x": {"kind": "zeros"}}}

    summary, arrays = job(tmp_path, baseline, methods=["gradient_x_delta"])
    _, zeros = job(tmp_path, {"kind": "zeros"}, methods=["gradient_x_delta"])

    assert not [name for name in arrays if name.startswith("baseline")]
    assert all(each["baselines"] is None for each in summary["rankings"][0]["clusters"].values())
    np.testing.assert_array_equal(arrays["importance/gradient_x_delta"], zeros["importance/gradient_x_delta"])
