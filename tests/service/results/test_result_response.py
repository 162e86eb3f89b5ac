"""Results over HTTP in every media type. The test writes them instead of a worker."""

import asyncio
import csv
import io
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from anyio import CapacityLimiter
from safetensors.numpy import load

from tests.service.conftest import Served, assert_problem, job, put_dataset, ready_model
from tests.service.results.conftest import ARRAYS, IMPORTANCE, SHAPE, succeeded, summary
from unitrank_schemas.results import Result
from unitrank_service.results.result_response import _in_threads
from unitrank_store.redis import keyspace


def test_stream_when_the_client_leaves_early_then_its_files_are_closed() -> None:
    ended = []

    def chunks() -> Iterator[bytes]:
        try:
            yield b"second"
            yield b"third"
        finally:
            ended.append(True)

    async def leave() -> None:
        stream = _in_threads(b"first", chunks(), CapacityLimiter(1))
        assert [await anext(stream), await anext(stream)] == [b"first", b"second"]
        assert ended == []
        # The annotation of an asynchronous generator names only its iterator.
        await stream.aclose()  # type: ignore[attr-defined]

    asyncio.run(leave())

    assert ended == [True]


def test_result_is_the_summary_by_default(client: httpx.Client, done: str) -> None:
    answer = client.get(f"/v1/jobs/{done}/result")

    assert answer.headers["content-type"] == "application/json"
    assert Result.model_validate_json(answer.content).job == done
    assert answer.json() == summary(done)


def test_result_with_its_etag_is_304(client: httpx.Client, done: str) -> None:
    for accept in ("application/json", "application/x-npz", "text/csv"):
        tag = client.get(f"/v1/jobs/{done}/result", headers={"Accept": accept}).headers["etag"]

        again = client.get(f"/v1/jobs/{done}/result", headers={"Accept": accept, "If-None-Match": tag})
        assert again.status_code == 304


def test_result_of_one_cluster_leaves_out_the_other(client: httpx.Client, done: str) -> None:
    result = client.get(f"/v1/jobs/{done}/result", params={"cluster": "=b", "top": 2}).json()

    assert [entry["name"] for entry in result["clusters"]] == ["=b"]
    assert list(result["rankings"][0]["clusters"]) == ["=b"]
    assert len(result["rankings"][0]["clusters"]["=b"]["top"]) == 2
    assert [entry["code"] for entry in result["warnings"]] == ["in_sample"]


@pytest.mark.parametrize("top", [10, 16, 1000])
def test_result_with_more_units_than_the_summary_takes_them_from_the_arrays(client: httpx.Client, done: str, top: int) -> None:
    result = client.get(f"/v1/jobs/{done}/result", params={"top": top}).json()

    for row, name in enumerate(["a", "=b"]):
        units = result["rankings"][0]["clusters"][name]["top"]
        order = np.argsort(-IMPORTANCE[row])[:top]
        assert [unit["unit"] for unit in units] == order.tolist()
        assert [unit["index"] for unit in units] == [list(map(int, np.unravel_index(unit, SHAPE))) for unit in order]
        assert [unit["importance"] for unit in units] == IMPORTANCE[row, order].tolist()
        # The summary has `in_top` of unit 0, and the arrays of no unit.
        assert {unit["unit"]: unit.get("in_top") for unit in units if unit["unit"] < 2} == {0: 0.5, 1: None} or top < 16
    assert result["rankings"][0]["clusters"]["a"]["top"][0]["spread"] is None
    assert result["rankings"][0]["clusters"]["=b"]["top"][0]["spread"] == abs(IMPORTANCE[1]).tolist()[int(np.argmax(IMPORTANCE[1]))]


def test_result_with_top_as_csv_has_that_number_of_units(client: httpx.Client, done: str) -> None:
    answer = client.get(f"/v1/jobs/{done}/result", params={"top": 3, "cluster": "=b"}, headers={"Accept": "text/csv"})

    units = [int(row["unit"]) for row in csv.DictReader(io.StringIO(answer.text))]
    assert units == np.argsort(-IMPORTANCE[1])[:3].tolist()


def test_result_that_is_narrowed_leaves_no_file_open(client: httpx.Client, served: Served, done: str) -> None:
    spool = str(served.backend.blobs.spool)
    for accept in ("application/json", "text/csv", "application/x-npz"):
        client.get(f"/v1/jobs/{done}/result", params={"top": 10}, headers={"Accept": accept})

    assert not [file.path for file in psutil.Process().open_files() if file.path.startswith(spool)]


def test_result_whose_summary_is_damaged_is_a_problem(client: httpx.Client, served: Served, done: str) -> None:
    location: Any = served.backend.jobs.get(done).result
    served.backend.connection.set(keyspace.chunk(location["summary"], 0), b"{}")

    assert_problem(client.get(f"/v1/jobs/{done}/result"), 500, "internal")


def test_result_as_safetensors_has_every_array(client: httpx.Client, done: str) -> None:
    answer = client.get(f"/v1/jobs/{done}/result", headers={"Accept": "application/vnd.safetensors"})

    assert answer.headers["content-type"] == "application/vnd.safetensors"
    assert_equal(load(answer.content))


def test_result_as_npz_has_every_array(client: httpx.Client, done: str) -> None:
    answer = client.get(f"/v1/jobs/{done}/result", headers={"Accept": "application/x-npz"})

    assert answer.headers["content-type"] == "application/x-npz"
    with np.load(io.BytesIO(answer.content)) as arrays:
        assert_equal(dict(arrays))


def test_result_as_csv_has_a_row_for_each_unit(client: httpx.Client, done: str) -> None:
    answer = client.get(f"/v1/jobs/{done}/result", headers={"Accept": "text/csv"})

    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert answer.headers["content-type"].startswith("text/csv")
    assert list(rows[0]) == ["cluster", "ranking", "rank", "unit", "index", "importance", "spread"]
    assert len(rows) == 2 * 16
    assert (rows[0]["rank"], int(rows[0]["unit"]), rows[0]["spread"]) == ("1", int(np.argmax(IMPORTANCE[0])), "")
    assert rows[16]["cluster"] == "'=b"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        ("text/*", "text/csv"),
        ("text/html, application/x-npz;q=0.5, */*;q=0.1", "application/x-npz"),
        ("application/json;q=0.2, text/csv;q=0.9", "text/csv"),
        ("application/json;q=0, */*", "application/vnd.safetensors"),
    ],
)
def test_result_comes_in_the_type_that_accept_prefers(client: httpx.Client, done: str, accept: str, kind: str) -> None:
    answer = client.get(f"/v1/jobs/{done}/result", headers={"Accept": accept})

    assert answer.headers["content-type"].partition(";")[0] == kind


def test_result_in_no_offered_type_is_406(client: httpx.Client, done: str) -> None:
    assert_problem(client.get(f"/v1/jobs/{done}/result", headers={"Accept": "image/png"}), 406, "not_acceptable")


@pytest.mark.parametrize(
    ("params", "status", "code"),
    [
        ({"cluster": "c"}, 404, "cluster_not_found"),
        ({"ranking": "gradeint"}, 404, "ranking_not_found"),
        ({"top": 0}, 422, "invalid_parameter"),
        ({"top": "all"}, 422, "invalid_parameter"),
        ({"top": 10_001}, 422, "invalid_parameter"),
    ],
)
@pytest.mark.parametrize("accept", ["application/json", "text/csv"])
def test_result_with_unknown_names_is_a_problem(
    client: httpx.Client, done: str, params: dict[str, Any], status: int, code: str, accept: str
) -> None:
    assert_problem(client.get(f"/v1/jobs/{done}/result", params=params, headers={"Accept": accept}), status, code)


def test_result_before_the_end_is_not_finished(client: httpx.Client, served: Served) -> None:
    ready_model(client, served)
    put_dataset(client)
    id = client.post("/v1/jobs", json=job()).json()["id"]

    assert_problem(client.get(f"/v1/jobs/{id}/result"), 409, "not_finished")


@pytest.mark.parametrize(
    ("status", "code"), [("failed", "job_failed"), ("timed_out", "job_timed_out"), ("cancelled", "job_cancelled")]
)
def test_result_of_a_job_without_a_result_has_the_reason(client: httpx.Client, served: Served, status: Any, code: str) -> None:
    ready_model(client, served)
    put_dataset(client)
    id = client.post("/v1/jobs", json=job()).json()["id"]
    attempt = served.backend.jobs.start(id, "cpu-0")
    assert attempt
    served.backend.jobs.finish(id, attempt, status, problem={"code": "x", "title": "x", "detail": "the reason", "status": 500})

    problem = assert_problem(client.get(f"/v1/jobs/{id}/result"), 409, code)
    assert "the reason" in problem["detail"]


@pytest.mark.parametrize("accept", ["application/json", "application/vnd.safetensors", "application/x-npz", "text/csv"])
def test_result_that_is_gone_is_expired(client: httpx.Client, served: Served, done: str, accept: str) -> None:
    record = served.backend.jobs.get(done)
    served.backend.results.delete(record.result)  # type: ignore[arg-type]

    assert_problem(client.get(f"/v1/jobs/{done}/result", headers={"Accept": accept}), 410, "expired")


def test_result_after_its_time_is_expired(serve: Callable[..., tuple[httpx.Client, Served]]) -> None:
    client, served = serve(result_ttl=0, failure_ttl=100)

    assert_problem(client.get(f"/v1/jobs/{succeeded(client, served)}/result"), 410, "expired")


def test_delete_of_the_job_takes_the_result_along(client: httpx.Client, served: Served, done: str) -> None:
    assert client.delete(f"/v1/jobs/{done}").status_code == 204
    assert_problem(client.get(f"/v1/jobs/{done}/result"), 404, "job_not_found")
    assert not [key for key in served.backend.connection.keys("*") if b"chunk" in key]


def assert_equal(arrays: dict[str, np.ndarray[Any, Any]]) -> None:
    assert set(arrays) == set(ARRAYS)
    for name, array in arrays.items():
        assert array.dtype == (np.int64 if name.startswith("rows") else np.float32)
        np.testing.assert_array_equal(array, ARRAYS[name])
