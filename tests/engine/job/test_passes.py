"""A job that several processes compute together gives the bits of a job in one process."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest

from tests.engine.in_process import rank
from tests.engine.nets import net_of, program
from unitrank_engine.job import batch_size
from unitrank_engine.job.passes import Compute, LocalRunner, ranges_of
from unitrank_tables.range_result import RangeJoin, RangeResult

Result = tuple[dict[str, Any], dict[str, np.ndarray]]
SECONDS = 60.0
METHODS = [
    "activation",
    "gradient",
    "deeplift",
    {"name": "conductance", "steps": 5},
    {"name": "conductance", "id": "open"},
    {"name": "integrated_gradients", "steps": 3, "statistic": "rms"},
    {"name": "exact_ablation", "fill": "mean"},
    {"name": "shapley", "permutations": 16, "settle": 2},
    "random",
]
ABLATION = {
    "random": 2,
    "fractions": [0.05, 0.2],
    "check_fill": "mean",
    "verify": {"top": 2, "sample": 3},
    "pairs": 2,
    "sanity": "permute_tail",
}


class Nodes:
    """Nodes that run the same job; each computes every n-th range of a pass, and all get all."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.ranges = 0
        """The number of ranges of all passes together."""
        self.results: dict[int, bytes] = {}
        self.barrier = Barrier(count)

    def run(self, job: Callable[["Node"], Result]) -> list[Result]:
        with ThreadPoolExecutor(self.count) as threads:
            return list(threads.map(lambda number: job(Node(self, number)), range(self.count)))


class Node:
    def __init__(self, nodes: Nodes, number: int) -> None:
        self.nodes, self.number = nodes, number

    def run(self, stage: str, ranges: Sequence[range], compute: Compute) -> RangeResult:
        nodes = self.nodes
        for number in range(self.number, len(ranges), nodes.count):
            nodes.results[number] = compute(ranges[number]).encode()
        nodes.barrier.wait(SECONDS)
        join = RangeJoin(len(ranges))
        for number in reversed(range(len(ranges))):
            join.add(number, RangeResult.decode(nodes.results[number]))
        nodes.barrier.wait(SECONDS)
        if self.number == 0:
            nodes.results.clear()
            nodes.ranges += len(ranges)
        nodes.barrier.wait(SECONDS)
        return join.result()


class Counting(LocalRunner):
    """Counts the ranges of all passes."""

    ranges = 0

    def run(self, stage: str, ranges: Sequence[range], compute: Compute) -> RangeResult:
        self.ranges += len(ranges)
        return super().run(stage, ranges, compute)


class Busy(LocalRunner):
    """Gives the seconds of 64 nodes that compute at the same time."""

    def run(self, stage: str, ranges: Sequence[range], compute: Compute) -> RangeResult:
        result = super().run(stage, ranges, compute)
        sums = {name: array * (64 if name.endswith("seconds") else 1) for name, array in result.sums.items()}
        return RangeResult(sums, result.rows)


def job(folder: Path, runner: Any, **request: Any) -> Result:
    # Any: a runner of the tests
    x = net_of("convolutional").examples(40).numpy()
    random = np.random.default_rng(1)
    fields = {"x": x, "y": random.integers(0, 3, 40), "g": random.integers(0, 2, 40)}
    folder.mkdir()
    options = {
        "methods": METHODS,
        "ablation": ABLATION,
        "keep_examples": 2,
    } | request
    return rank(program("convolutional"), folder, fields, "features.2", options.pop("methods"), runner=runner, **options)


def comparable(summary: dict[str, Any]) -> dict[str, Any]:
    cost = {name: value for name, value in summary["cost"].items() if name not in ("seconds", "peak_bytes")}
    rankings = [{name: value for name, value in ranking.items() if name != "seconds"} for ranking in summary["rankings"]]
    return summary | {"cost": cost, "rankings": rankings}


@pytest.fixture
def short_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranges of one batch."""
    monkeypatch.setattr(batch_size, "RANGE_OPERATIONS", {"cpu": 1, "cuda": 1})
    monkeypatch.setattr(batch_size, "ROWS_PER_CLUSTER", 1)
    monkeypatch.setitem(batch_size.LIMITS, "cpu", (16, 16))


@pytest.mark.check
@pytest.mark.usefixtures("short_ranges")
@pytest.mark.parametrize(
    "request_",
    [
        {"clusters": {"by": "label"}, "fidelity": {"fraction": 0.2}},
        {"clusters": {"by": "prediction"}, "baseline": {"kind": "mean"}},
        {"clusters": {"by": "kmeans", "k": 3, "layer": "features.2"}, "baseline": {"kind": "cluster_mean"}},
        {"clusters": {"by": "field", "field": "g"}, "target": {"class": "each"}, "methods": ["gradient", "deeplift"]},
    ],
    ids=["label", "prediction", "kmeans", "each"],
)
def test_job_when_nodes_compute_ranges_then_each_gets_the_bits_of_one_process(tmp_path: Path, request_: dict[str, Any]) -> None:
    local, nodes = Counting(), Nodes(2)
    expected = job(tmp_path / "local", local, **request_)

    results = nodes.run(lambda node: job(tmp_path / str(node.number), node, **request_))

    assert nodes.ranges == local.ranges > 3
    for summary, arrays in results:
        assert comparable(summary) == comparable(expected[0])
        assert {name: array.tobytes() for name, array in arrays.items()} == {
            name: array.tobytes() for name, array in expected[1].items()
        }


@pytest.mark.slow
@pytest.mark.usefixtures("short_ranges")
def test_job_when_64_nodes_compute_one_row_each_then_all_get_the_bits_of_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(batch_size.LIMITS, "cpu", (1, 1))
    request, nodes = {"methods": ["gradient"], "ablation": None, "clusters": {"by": "all"}}, Nodes(64)
    _, expected = job(tmp_path / "local", LocalRunner(), **request)

    results = nodes.run(lambda node: job(tmp_path / str(node.number), node, **request))

    assert nodes.ranges >= 40
    for _, arrays in results:
        assert {name: array.tobytes() for name, array in arrays.items()} == {
            name: array.tobytes() for name, array in expected.items()
        }


@pytest.mark.check
def test_job_when_it_has_several_ranges_then_scores_are_those_of_one_range(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    whole, ablation = Counting(), {"random": 3}
    expected = job(tmp_path / "whole", whole, ablation=ablation, clusters={"by": "label"})
    request.getfixturevalue("short_ranges")
    parts = Counting()
    _, arrays = job(tmp_path / "parts", parts, ablation=ablation, clusters={"by": "label"})

    assert parts.ranges > whole.ranges
    for name, array in expected[1].items():
        np.testing.assert_allclose(arrays[name], array, rtol=1e-5, atol=1e-6, err_msg=name)


def test_ranges_when_rows_do_not_divide_then_the_last_one_is_shorter() -> None:
    assert ranges_of(5, 2) == [range(2), range(2, 4), range(4, 5)]


def test_seconds_when_nodes_compute_at_the_same_time_then_rankings_share_those_of_the_job(tmp_path: Path) -> None:
    summary, _ = job(tmp_path / "busy", Busy(), methods=["activation", "exact_ablation"], ablation=None)
    seconds = [ranking["seconds"] for ranking in summary["rankings"]]

    assert min(seconds) > 0
    assert sum(seconds) < summary["cost"]["seconds"]
