"""Given scores: those that the engine computed, given back, have the same numbers in every test."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.engine.ablation.plain import prepared
from tests.engine.in_process import program_of, rank
from tests.engine.reuse.test_reuse import Memory
from unitrank_engine.errors import EngineError
from unitrank_engine.program import Program

COUNT = 24
X = torch.randn(COUNT, 2, 6, 6, generator=torch.Generator().manual_seed(1)).numpy()
Y = np.arange(COUNT) % 2
SHAPE = (3, 4, 4)
OPTIONS: dict[str, Any] = {"clusters": {"by": "label"}, "ablation": {"random": 19, "fractions": [0.1, 0.3]}}


@pytest.fixture(scope="module")
def program() -> Program:
    torch.manual_seed(0)
    return program_of(
        nn.Sequential(nn.Conv2d(2, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(48, 8), nn.Tanh(), nn.Linear(8, 2)),
        torch.zeros(2, 2, 6, 6),
    )


def job(program: Program, folder: Path, methods: list[Any], **options: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    fields = {"x": X, "y": Y} | options.pop("fields", {})
    return rank(program, folder, fields, "1", methods, **OPTIONS | options)


def half_importances(program: Program, folder: Path, method: str) -> tuple[dict[str, list[float]], np.ndarray]:
    """Each cluster's importance from the rows that rank, in float64, and whether each row ranks."""
    _, arrays = job(program, folder, [method], keep_examples=COUNT)
    context = prepared(program, folder, {"x": X, "y": Y}, layer="1", labels="y", inputs={"input": "x"}, clusters={"by": "label"})
    importance, ranks = {}, np.zeros(COUNT, dtype=bool)
    for cluster, halves in zip(context.clusters, context.halves, strict=True):
        scores = arrays[f"examples/{method}/{cluster.name}"].reshape(len(cluster.rows), -1).astype(np.float64)
        importance[cluster.name] = scores[halves.sides == 0].mean(0).tolist()
        ranks[cluster.rows[halves.sides == 0]] = True
    return importance, ranks


def test_importance_when_it_is_a_methods_half_then_has_its_curves_to_the_bit(program: Program, tmp_path: Path) -> None:
    importance, ranks = half_importances(program, tmp_path, "conductance")

    _, both = job(program, tmp_path, ["conductance", {"name": "given", "importance": importance}])
    fields = {"made": ranks}
    _, alone = job(program, tmp_path, [{"name": "given", "importance": importance, "made_on": "made"}], fields=fields)

    assert ranks.sum() == COUNT / 2
    for order in ("most", "least"):
        curves = both[f"ablation/conductance/{order}"]
        assert np.array_equal(both[f"ablation/given/{order}"], curves)
        assert np.array_equal(alone[f"ablation/given/{order}"], curves)


@pytest.mark.parametrize("units", ["neuron", "channel"])
@pytest.mark.parametrize("statistic", ["mean", "mean_abs", "rms"])
def test_field_when_it_has_a_methods_scores_then_has_its_numbers(
    units: str, statistic: str, program: Program, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"units": units}
    _, kept = job(program, tmp_path, ["gradient"], keep_examples=COUNT, **options)
    scores = np.zeros((COUNT, *kept["examples/gradient/0"].shape[1:]), np.float32)
    for cluster in ("0", "1"):
        scores[kept[f"rows/{cluster}"]] = kept[f"examples/gradient/{cluster}"]

    methods = [
        {"name": "gradient", "statistic": statistic, "id": "a"},
        {"name": "given", "field": "s", "statistic": statistic, "id": "b"},
    ]
    summary, arrays = job(program, tmp_path, methods, fields={"s": scores}, **options)
    method, given = summary["rankings"]

    assert np.array_equal(arrays["importance/a"], arrays["importance/b"])
    assert np.array_equal(arrays["spread/a"], arrays["spread/b"])
    assert np.array_equal(arrays["ablation/a/most"], arrays["ablation/b/most"])
    assert [method[part] for part in ("clusters", "overall")] == [given[part] for part in ("clusters", "overall")]
    assert method["fidelity"]["mae"] == given["fidelity"]["mae"]


def test_field_when_units_are_channels_then_the_places_elements_are_summed(program: Program, tmp_path: Path) -> None:
    scores = np.random.default_rng(0).normal(size=(COUNT, *SHAPE))

    _, arrays = job(
        program,
        tmp_path,
        [{"name": "given", "field": "s"}],
        fields={"s": scores},
        units="channel",
        clusters={"by": "all"},
        ablation=None,
    )

    np.testing.assert_allclose(arrays["importance/given"][0], scores.sum((2, 3)).mean(0), rtol=1e-6)


def test_importance_when_there_are_no_scores_of_examples_then_their_measures_are_null(program: Program, tmp_path: Path) -> None:
    summary, arrays = job(program, tmp_path, ["gradient", {"name": "given", "importance": list(range(48))}])
    ranking = summary["rankings"][1]

    assert ranking["fidelity"] is None
    assert "importance" not in ranking["method"]
    for cluster in ranking["clusters"].values():
        assert [cluster[name] for name in ("completeness", "cancellation", "stability")] == [None] * 3
        assert {unit["spread"] for unit in cluster["top"]} == {None}
        assert cluster["top"][0]["unit"] == 47
        assert cluster["ablation"]["p_value"] is not None
    assert np.array_equal(arrays["importance/given"], [range(48)] * 2)
    assert np.isnan(arrays["spread/given"]).all()


def test_made_on_when_all_scores_came_with_the_job_then_every_unmarked_row_tests(program: Program, tmp_path: Path) -> None:
    marks = np.arange(COUNT) < 6
    methods = [{"name": "given", "importance": list(range(48)), "made_on": "made"}]

    def tested(methods: list[Any], **ablation: Any) -> list[tuple[int, int]]:
        summary, _ = job(program, tmp_path, methods, fields={"made": marks}, ablation=OPTIONS["ablation"] | ablation)
        return [(cluster["ranked_on"], cluster["tested_on"]) for cluster in summary["clusters"]]

    assert tested(methods) == [(3, 9)] * 2
    assert tested(methods, examples=4) == [(3, 4)] * 2
    assert tested(methods, split="none") == [(3, 9)] * 2
    assert tested([*methods, "gradient"]) == [(6, 6)] * 2
    assert tested([*methods, "gradient"], split="none") == [(12, 9)] * 2
    assert tested([methods[0] | {"made_on": "none"}]) == [(0, 12)] * 2


def test_reuse_when_given_numbers_change_then_only_the_controls_come_from_the_earlier_job(program: Program, tmp_path: Path) -> None:
    parts, numbers = Memory(), [float(number) for number in range(48)]
    changed = [numbers[1], numbers[0], *numbers[2:]]

    def reused(importance: list[float], store: Memory | None) -> tuple[set[str], dict[str, np.ndarray]]:
        summary, arrays = job(program, tmp_path, ["gradient", {"name": "given", "importance": importance}], parts=store)
        return set(summary["cost"]["reused"]), arrays

    reused(numbers, parts)
    again, _ = reused(numbers, parts)
    other, arrays = reused(changed, parts)
    _, fresh = reused(changed, None)

    assert {"controls", "gradient", "given"} <= again
    assert {"controls", "gradient"} <= other
    assert not {"given", "given/ablation"} & other
    assert all(np.array_equal(arrays[name], fresh[name], equal_nan=True) for name in fresh)


def codes(summary: dict[str, Any]) -> dict[str, Any]:
    return {warning["code"]: warning["ranking"] for warning in summary["warnings"]}


def test_made_on_when_it_is_null_then_a_warning_says_so(program: Program, tmp_path: Path) -> None:
    unknown, _ = job(program, tmp_path, [{"name": "given", "importance": list(range(48))}])
    stated, _ = job(
        program, tmp_path, [{"name": "given", "importance": list(range(48)), "made_on": "none"}], ablation={"split": "none"}
    )

    assert codes(unknown)["in_sample_unknown"] == "given"
    # No ranking was made from the examples, so testing all of them is not in sample.
    assert not {"in_sample_unknown", "in_sample"} & set(codes(stated))


def test_scores_when_they_are_constant_then_the_ablation_still_runs(program: Program, tmp_path: Path) -> None:
    summary, arrays = job(program, tmp_path, [{"name": "given", "importance": [2.0] * 48}])

    assert np.isfinite(arrays["ablation/given/most"]).all()
    assert summary["rankings"][0]["overall"] is not None


BAD: dict[str, tuple[dict[str, Any], dict[str, np.ndarray], str, str]] = {
    "a missing cluster": ({"importance": {"0": [1.0] * 48}}, {}, "cluster_missing", "cluster '1' has no importance"),
    "an unknown cluster": (
        {"importance": {name: [1.0] * 48 for name in "012"}},
        {},
        "cluster_unknown",
        "its clusters are '0', '1'",
    ),
    "too few units": ({"importance": [1.0] * 47}, {}, "wrong_shape", "expected [48] or [3, 4, 4]"),
    "a field of another shape": ({"field": "s"}, {"s": np.zeros((COUNT, 4, 3, 4))}, "wrong_shape", "expected [48] or [3, 4, 4]"),
    "a field with NaN": (
        {"field": "s"},
        {"s": np.where(np.arange(COUNT) == 7, np.nan, np.zeros((48, COUNT))).T},
        "non_finite",
        "row 7",
    ),
    "every row marked": (
        {"importance": [1.0] * 48, "made_on": "made"},
        {"made": np.ones(COUNT, bool)},
        "made_on_leaves_none",
        "made",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_job_when_given_scores_do_not_fit_then_fails_with_words_that_say_what_would(
    case: str, program: Program, tmp_path: Path
) -> None:
    options, fields, code, words = BAD[case]

    with pytest.raises(EngineError) as caught:
        job(program, tmp_path, [{"name": "given", **options}], fields=fields)

    assert caught.value.code == code
    assert words in caught.value.detail


def test_importance_when_labels_reorder_the_elements_then_has_one_number_for_each_unit(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    x = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
    given = {"name": "given", "importance": [4.0, 3.0, 2.0, 1.0], "made_on": "none"}

    _, arrays = rank(
        program_of(net, torch.randn(2, 3)), tmp_path, {"x": x}, "1", [given], units={"axis": 0, "labels": [1, 2, 3, 0]},
        target={"class": 1}, ablation=None, fidelity=None,
    )  # fmt: skip

    np.testing.assert_array_equal(arrays["importance/given"][0], [4, 3, 2, 1])
