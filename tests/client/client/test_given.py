"""Given scores: arrays become entries of a request, or datasets that the client uploads."""

import asyncio
import json
from typing import Any

import httpx
import numpy as np
import pytest

import unitrank
from unitrank.client import given as given_module
from unitrank.client.sync import Client

Json = dict[str, Any]
REQUEST: Json = {"model": "m", "layer": "1", "dataset": "d", "methods": ["gradient"]}
JOB: Json = {
    "id": "j",
    "status": "queued",
    "attempt": 0,
    "created_at": "2026-01-01T00:00:00Z",
    "request": REQUEST,
    "links": dict.fromkeys(["self", "result", "events", "report"], "/"),
}
DIGEST = "sha256:" + "1" * 64
DRY_RUN: Json = {"request": REQUEST, "estimate": {"passes": 1, "seconds": 1.0, "result_bytes": 1}}


def service(requests: list[httpx.Request]) -> httpx.MockTransport:
    """A service that accepts every dataset and job, and lists what was sent."""

    def answer(request: httpx.Request) -> httpx.Response:
        request.read()
        requests.append(request)
        if request.method == "PUT":
            name = request.url.path.rpartition("/")[2]
            dataset = {"name": name, "digest": DIGEST, "bytes": 1, "status": "ready", "created_at": JOB["created_at"]}
            return httpx.Response(201, json=dataset)
        return httpx.Response(200, json=DRY_RUN) if "dry_run" in request.url.params else httpx.Response(202, json=JOB)

    return httpx.MockTransport(answer)


def sent(methods: list[Any] | None = None, **scores: Any) -> tuple[list[Any], list[str]]:
    """The methods of the posted request, and the names of the uploaded datasets."""
    requests: list[httpx.Request] = []
    with Client("http://service", transport=service(requests)) as client:
        client.jobs.submit(REQUEST | {"methods": methods or ["gradient"]}, given=scores or None)
    *uploads, post = requests
    return json.loads(post.content)["methods"], [upload.url.path.rpartition("/")[2] for upload in uploads]


def test_submit_when_scores_are_small_then_they_are_in_the_request() -> None:
    methods, uploads = sent(mine=[0, 1.5], hers={0: np.float32([1, 2]), True: np.float32([3, 4])})

    assert methods == [
        "gradient",
        {"name": "given", "id": "mine", "importance": [0.0, 1.5]},
        {"name": "given", "id": "hers", "importance": {"0": [1.0, 2.0], "1": [3.0, 4.0]}},
    ]
    assert uploads == []


def test_submit_when_entries_have_options_then_they_stay_in_their_place() -> None:
    rows = np.arange(8.0).reshape(2, 2, 2)
    mine = unitrank.given(rows, "mine", clusters=np.array(["a", "b"]), made_on="train")

    methods, _ = sent([mine, "gradient"], whole=rows)

    assert methods == [
        {"name": "given", "id": "mine", "made_on": "train", "importance": {"a": [0.0, 1.0, 2.0, 3.0], "b": [4.0, 5.0, 6.0, 7.0]}},
        "gradient",
        {"name": "given", "id": "whole", "importance": list(range(8))},
    ]


def test_submit_when_scores_are_too_large_then_they_are_uploaded_once_under_a_name_of_their_content() -> None:
    large = np.random.default_rng(0).normal(size=(2, 40_000))
    scores = {"0": large[0], "1": large[1]}
    methods, uploads = sent(mine=scores)
    _, again = sent(mine=scores)
    _, other = sent(mine={"0": large[1], "1": large[0]})

    assert methods[1] == {"name": "given", "id": "mine", "scores": f"{uploads[0]}@{DIGEST}"}
    assert uploads == again != other
    assert uploads[0].startswith("given-mine-")


def test_submit_when_scores_are_too_large_together_then_the_later_ones_are_uploaded() -> None:
    each = np.random.default_rng(0).normal(size=40_000)

    methods, uploads = sent(a=each, b=each)

    assert "importance" in methods[1]
    assert "scores" in methods[2]
    assert len(uploads) == 1


def test_dry_run_and_async_client_when_scores_are_given_then_send_them_too() -> None:
    requests: list[httpx.Request] = []
    with Client("http://service", transport=service(requests)) as client:
        client.jobs.dry_run(REQUEST, given={"mine": [1.0]})

    async def submit() -> None:
        async with unitrank.AsyncClient("http://service", transport=service(requests)) as client:
            await client.jobs.submit(REQUEST, given={"mine": [1.0]})
            await client.jobs.dry_run(REQUEST, given={"mine": np.zeros(10**6)})

    asyncio.run(submit())

    assert [request.method for request in requests] == ["POST", "POST", "PUT", "POST"]
    assert all(json.loads(request.content)["methods"][1]["id"] == "mine" for request in requests if request.method == "POST")


def test_table_when_scores_are_uploaded_then_has_a_row_for_each_cluster() -> None:
    whole, rows = unitrank.given(np.ones((2, 3))), unitrank.given({"a": np.ones((2, 3)), "b": np.zeros((2, 3))})

    assert whole.table()["importance"].shape == (1, 6)
    assert rows.table()["importance"].shape == (2, 6)
    assert rows.table()["cluster"] == ["a", "b"]


WRONG: list[tuple[Any, Json, str]] = [
    ([1.0, float("nan")], {}, "'mine' are NaN or infinite at index [1]"),
    ({"a": [1.0], "b": [float("inf")]}, {}, "of cluster 'b' are NaN or infinite at index [0]"),
    ({"a": [1.0], "b": [1.0, 2.0]}, {}, "have [1] and [2]; give one array of the same shape"),
    ({}, {}, "have no cluster"),
    (["a"], {}, "give real numbers or integers"),
    (np.ones((2, 3)), {"clusters": ["a"]}, "but 1 clusters; give a row for each cluster"),
    (1.0, {"clusters": ["a"]}, "the shape []"),
]


@pytest.mark.parametrize(("scores", "options", "words"), WRONG)
def test_given_when_scores_are_not_numbers_of_equal_shape_then_says_what_would_be_right(
    scores: Any, options: Json, words: str
) -> None:
    with pytest.raises(unitrank.NotPossible) as caught:
        unitrank.given(scores, "mine", **options)

    assert words in str(caught.value)


def test_submit_when_rows_are_examples_then_says_that_they_must_be_a_field() -> None:
    with pytest.raises(unitrank.NotPossible, match="must be a field of the job's dataset"):
        sent([unitrank.given(np.ones((9, 2)), "mine", per_example=True)])


def test_limit_is_that_of_the_service() -> None:
    assert given_module.MOST_IMPORTANCE_BYTES == 2**20
