"""A job divided between nodes, with real children and channels, and without Ray."""

from pathlib import Path

import numpy as np
import pytest

from tests.worker.distributed.conftest import Bed
from tests.worker.distributed.on_ray.ray_bench import equal
from unitrank_schemas.base import Json
from unitrank_tables.part import Part, encode_part

pytestmark = pytest.mark.check

PASSES: list[Json] = [
    {"ranges": 7, "rows": 5, "stage": "statistics"},
    {"ranges": 1, "rows": 3},
    {"ranges": 12, "rows": 4, "stage": "ablation"},
]


def test_job_when_divided_then_equals_the_local_one_to_the_bit_and_names_nodes_and_shards(bed: Bed) -> None:
    expected = bed.local(PASSES)

    assert equal(bed.divided(PASSES), expected)
    assert bed.summary["cost"]["nodes"] == 2
    assert equal(bed.divided(PASSES), expected)
    assert bed.last["shards"] == {"done": 12, "total": 12}
    assert (bed.last["done"], bed.last["total"], bed.last["stage"]) == (86, 86, "ablation")


def test_replica_when_killed_in_mid_range_then_another_one_replays_the_job(bed: Bed, tmp_path: Path) -> None:
    expected = bed.local(PASSES)
    kill = {"range": 6, "times": 1, "file": str(tmp_path / "kills")}

    actual = bed.divided([*PASSES[:2], PASSES[2] | {"kill": kill}])

    assert equal(actual, expected)
    assert (tmp_path / "kills").read_text() == "xx"


def test_range_when_it_crashes_twice_then_the_job_fails_and_the_next_one_succeeds(bed: Bed, tmp_path: Path) -> None:
    kill = {"range": 6, "times": 99, "file": str(tmp_path / "kills")}

    bed.divided([*PASSES[:2], PASSES[2] | {"kill": kill}])

    assert bed.problem is not None
    assert bed.problem["code"] == "worker_lost"
    assert "range 7 of 12 ended 2 times" in bed.problem["detail"]
    assert equal(bed.divided(PASSES), bed.local(PASSES))


def test_engine_error_when_a_replica_raises_it_then_it_is_the_job_problem(bed: Bed) -> None:
    bed.divided([PASSES[0] | {"raise": {"range": 2}}])

    assert bed.problem is not None
    assert (bed.problem["code"], bed.problem["detail"]) == ("non_finite", "the output was nan")


@pytest.mark.parametrize("line", ["nonsense\n", '{"bytes": -1}\n', '{"ranged": 2, "rows": 0, "progress": null, "bytes": 3}\nabc'])
def test_replica_when_it_sends_nonsense_then_its_range_counts_as_crashed(bed: Bed, line: str) -> None:
    bed.divided([PASSES[0] | {"nonsense": {"range": 2, "line": line}}])

    assert bed.problem is not None
    assert bed.problem["code"] == "worker_lost"


def test_parts_when_the_owner_finds_them_then_the_replicas_get_the_same(bed: Bed) -> None:
    bed.parts = {"aa": encode_part(Part({"x": np.array([1.25])}))}
    bed.asked.clear()
    passes = [PASSES[0], {"parts": ["aa", "bb"], "ranges": 5}, PASSES[2]]
    expected = bed.local(passes)

    assert equal(bed.divided(passes), expected)
    assert not equal(bed.divided([PASSES[0], {"ranges": 5}, PASSES[2]]), expected)
    assert bed.asked == [["aa", "bb"], ["aa", "bb"]]


def test_job_when_stopped_in_a_pass_then_its_nodes_run_the_next_job_with_the_same_children(bed: Bed, tmp_path: Path) -> None:
    expected = bed.divided(PASSES)
    before = [node.wait()._pool.load().children for node in bed.nodes.nodes]
    job = bed.begin([PASSES[0], PASSES[2] | {"wait": {"range": 3, "file": str(tmp_path / "go")}}])
    while not any("shards" in (each or {}) and each["stage"] == "ablation" for each in bed.progress[-1:]):
        message = bed.relay(job)
        if message is not None and "progress" in message.content:
            bed.progress.append(message.content["progress"])

    bed.driver.send({"over": job.key})
    bed.owner.send({"stop": True})
    bed._result({}, job)

    assert bed.status == "cancelled"
    assert equal(bed.divided(PASSES), expected)
    assert [node.wait()._pool.load().children for node in bed.nodes.nodes] == before
