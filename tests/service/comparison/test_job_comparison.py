"""The comparison of jobs equals the comparison of the same rankings inside one job."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from tests.engine.in_process import program_of, rank
from unitrank_engine.program import Program
from unitrank_schemas.comparison import JobComparison
from unitrank_service.comparison.job_comparison import Source, job_comparison
from unitrank_service.comparison.student_t import t_quantile
from unitrank_service.results.layers.local_arrays import LocalArrays
from unitrank_store.jobs.record import JobRecord
from unitrank_tables.result_arrays import encode_arrays

pytestmark = pytest.mark.check

METHODS = ["gradient_x_delta", {"name": "gradient", "statistic": "mean_abs"}]
SummaryAndArrays = tuple[dict[str, Any], dict[str, np.ndarray]]
Ranked = Callable[..., SummaryAndArrays]
JOBS = ("1" * 26, "2" * 26, "3" * 26, "4" * 26)


@cache
def program() -> Program:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 3)).double()
    return program_of(net, torch.zeros(2, 6, dtype=torch.float64))


@pytest.fixture(scope="module")
def ranked(tmp_path_factory: pytest.TempPathFactory) -> Ranked:
    """Makes a result of the engine, for labels in three clusters. Equal results are made once."""
    results: dict[str, SummaryAndArrays] = {}
    folder = tmp_path_factory.mktemp("ranked")

    def make(methods: list[Any], layer: str = "1", **options: Any) -> SummaryAndArrays:
        draw = np.random.default_rng(0)
        fields = {"x": draw.normal(size=(60, 6)), "y": draw.integers(0, 3, 60)}
        quick = {"random": 19, "check_fill": None, "specificity": False}
        ablation = options.pop("ablation", {})
        options |= {"ablation": None if ablation is None else quick | ablation, "clusters": {"by": "label"}, "fidelity": None}
        key = json.dumps([methods, layer, options], sort_keys=True)
        if key not in results:
            results[key] = rank(program(), folder, fields, layer, methods, **options)
        return results[key]

    return make


def source(folder: Path, job: str, result: SummaryAndArrays, **request: Any) -> Source:
    """The job with this result, as the service reads it."""
    summary, arrays = result
    path = folder / f"{job}.safetensors"
    path.write_bytes(encode_arrays(arrays))
    record = JobRecord.queued(
        id=job,
        created_at=0.0,
        request={"model": "net", "dataset": "data", "layer": "1", "methods": [{"name": "gradient"}], "seed": 0, **request},
        resolved={"model": {"name": "net", "digest": "sha256:1"}, "dataset": {"name": "data", "digest": "sha256:2"}},
        needs=[],
        waiting_for=[],
        owner="",
        tenant="default",
    )
    return Source(record, "1", [], json.dumps(summary | {"job": job}).encode(), LocalArrays(path))


def compared(folder: Path, *results: SummaryAndArrays) -> JobComparison:
    return job_comparison([source(folder, job, result) for job, result in zip(JOBS, results, strict=False)])


def same(values: dict[str, Any], expected: dict[str, Any]) -> bool:
    """Whether the numbers are equal up to the precision of the arrays."""
    names = [name for name in expected if name not in ("a", "b")]
    return all(
        values[name] == (each if each is None or isinstance(each, str) else pytest.approx(each, rel=2e-5, abs=2e-6))
        for name in names
        for each in [expected[name]]
    )


def test_comparison_when_the_rankings_are_of_two_jobs_then_equals_that_inside_one_job(tmp_path: Path, ranked: Ranked) -> None:
    together = ranked(METHODS)
    comparison = compared(tmp_path, *(ranked([method]) for method in METHODS))

    assert (len(comparison.agreement), len(comparison.comparisons), comparison.not_compared) == (1, 1, [])
    assert (comparison.comparisons[0].job_a, comparison.comparisons[0].job_b) == JOBS[:2]
    inside = together[0]["comparisons"][0]
    # The verdicts are those of other families: one ranking in each job.
    assert same(comparison.comparisons[0].model_dump(), {name: inside[name] for name in inside if not name.endswith("ahead")})
    assert same(comparison.agreement[0].model_dump(), together[0]["agreement"][0])
    assert inside["difference"] != 0


def test_comparison_when_every_ranking_is_in_both_jobs_then_equal_names_are_first(tmp_path: Path, ranked: Ranked) -> None:
    result = ranked(METHODS)
    comparison = compared(tmp_path, result, result)

    assert [(each.a, each.b) for each in comparison.agreement] == [
        ("gradient_x_delta", "gradient_x_delta"),
        ("gradient.mean_abs", "gradient.mean_abs"),
        ("gradient_x_delta", "gradient.mean_abs"),
        ("gradient.mean_abs", "gradient_x_delta"),
    ]
    assert [each.difference for each in comparison.comparisons[:2]] == [0.0, 0.0]
    # The same family, so the leader is the same too.
    assert same(comparison.comparisons[2].model_dump(), result[0]["comparisons"][0])
    assert comparison.agreement[0].spearman == pytest.approx(1.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"seed": 1}, "the jobs test different examples"),
        ({"ablation": {"fractions": [0.5]}}, "the jobs test with different settings"),
        ({"ablation": {"fill": "mean"}}, "the jobs replace units by other values"),
        ({"target": {"score": "probability"}}, "the jobs replace units by other values, or explain another target"),
        ({"ablation": None}, "has no values of single test examples"),
    ],
)
def test_comparison_when_the_tests_differ_then_says_why_and_still_gives_the_agreement(
    tmp_path: Path, ranked: Ranked, options: dict[str, Any], reason: str
) -> None:
    comparison = compared(tmp_path, ranked(METHODS[:1]), ranked(METHODS[:1], **options))

    assert comparison.comparisons == []
    assert [each.part for each in comparison.not_compared] == ["comparisons"]
    assert reason in comparison.not_compared[0].detail
    assert len(comparison.agreement) == 1


def test_comparison_when_the_places_differ_then_says_which(tmp_path: Path, ranked: Ranked) -> None:
    comparison = compared(tmp_path, ranked(METHODS[:1]), ranked(METHODS[:1], layer="0"))

    assert (comparison.agreement, comparison.comparisons) == ([], [])
    assert comparison.not_compared[0].detail == (
        "the jobs rank the units of different places: neurons of the output of 1, shape [24], and "
        "neurons of the output of 0, shape [24]"
    )


def test_comparison_when_requests_differ_then_contents_are_first_and_secrets_left_out(tmp_path: Path, ranked: Ranked) -> None:
    result = ranked(METHODS[:1])
    webhook = {"url": "https://example.org/secret"}
    sources = [
        source(tmp_path, JOBS[0], result, ablation={"fill": "zero"}, webhook=webhook, metadata={"name": "a"}),
        source(tmp_path, JOBS[1], result, ablation=None, seed=3, clusters={"by": "members", "members": {"a": [1] * 3000}}),
    ]
    sources[1].record.resolved["dataset"] = {"name": None, "digest": "sha256:9"}
    comparison = job_comparison(sources)

    assert [(each.field, each.values) for each in comparison.differences[:3]] == [
        ("dataset", ["data@sha256:2", "in the request@sha256:9"]),
        ("seed", [0, 3]),
        ("ablation.fill", ["zero", None]),
    ]
    assert "secret" not in comparison.model_dump_json()
    assert all(len(str(each.values)) < 200 for each in comparison.differences)
    assert [job.name for job in comparison.jobs] == ["a", None]


def test_curve_when_its_drops_are_averaged_then_is_the_pooled_area(tmp_path: Path, ranked: Ranked) -> None:
    result = ranked(METHODS)
    comparison = compared(tmp_path, result, ranked(METHODS[:1], ablation=None))
    curve, best = comparison.jobs[0].curve, result[0]["leaderboard"][0]

    assert curve is not None
    assert (curve.ranking, curve.shares[0], curve.left[0]) == (best["ranking"], 0.0, 1.0)
    assert 1 - np.mean(curve.left[1:]) == pytest.approx(best["area"], rel=1e-5)
    assert comparison.jobs[1].curve is None


@pytest.mark.parametrize("freedom", [1, 2, 3, 10, 199, 5000, 10**6])
@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.999])
def test_quantile_when_compared_with_scipy_then_is_equal(freedom: int, level: float) -> None:
    assert t_quantile((1 + level) / 2, freedom) == pytest.approx(stats.t.ppf((1 + level) / 2, freedom), rel=1e-7)
