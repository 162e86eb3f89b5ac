"""Jobs over HTTP, from POST to DELETE, with the store's hand in the worker's place."""

import asyncio
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from tests.service.conftest import MANIFEST, Served, assert_problem, job, put_dataset, put_model, ready_model
from unitrank_schemas.jobs import DryRun, Job
from unitrank_service.http.wait_limits import WaitLimits
from unitrank_service.jobs.job_resource import event_lines
from unitrank_store.contents.waiting_jobs import model_ready, model_rejected
from unitrank_store.queue.rq_queue import depth, withdraw
from unitrank_store.redis import keyspace

PROBLEM = {"code": "internal", "title": "Broken", "detail": "it broke", "status": 500, "retryable": True}


@pytest.fixture(autouse=True)
def _ready(client: httpx.Client, served: Served) -> None:
    ready_model(client, served)
    put_dataset(client)


def post(client: httpx.Client, **changes: Any) -> dict[str, Any]:
    """A new job, whatever there is already."""
    answer = client.post("/v1/jobs", json=job(**changes), headers={"Cache-Control": "no-cache"})
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_post_of_a_right_job_is_accepted_and_queued(client: httpx.Client, served: Served) -> None:
    answer = client.post("/v1/jobs", json=job())

    assert answer.status_code == 202
    found = Job.model_validate_json(answer.content)
    assert answer.headers["location"] == found.links.self == f"/v1/jobs/{found.id}"
    assert answer.headers["retry-after"] == "1"
    assert (found.status, found.attempt, found.position) == ("queued", 0, 0)
    assert depth(served.backend.connection) == 1


def test_post_fills_the_defaults_that_model_and_dataset_decide(client: httpx.Client) -> None:
    request = post(client, methods=["gradient", "gradient", {"name": "gradient", "statistic": "rms"}])["request"]

    assert request["inputs"] == {"image": "image"}
    assert (request["labels"], request["output"], request["target"]["class"]) == ("y", "output", "label")
    assert [method["id"] for method in request["methods"]] == ["gradient", "gradient-2", "gradient.rms"]


def test_post_pins_contents_by_digest(client: httpx.Client, served: Served) -> None:
    id = post(client)["id"]

    resolved = served.backend.jobs.get(id).resolved
    assert resolved["model"] == {"name": "net", "digest": client.get("/v1/models/net").json()["digest"]}
    assert resolved["dataset"] == {"name": "data", "digest": client.get("/v1/datasets/data").json()["digest"]}


def test_dry_run_estimates_and_creates_nothing(client: httpx.Client, served: Served) -> None:
    answer = client.post("/v1/jobs", params={"dry_run": True}, json=job())

    assert answer.status_code == 200
    found = DryRun.model_validate_json(answer.content)
    assert found.estimate.passes > 10
    assert found.estimate.seconds > 0
    assert found.estimate.result_bytes > 2 * 16 * 4
    assert depth(served.backend.connection) == 0
    assert client.get("/v1/jobs").json()["items"] == []


def test_post_with_an_inline_dataset_keeps_it_as_long_as_the_job(client: httpx.Client, served: Served) -> None:
    found = post(client, dataset={"fields": {"image": [[[[0.5, 1], [2, 3]]]] * 4, "y": [0, 1, 2, 0]}}, clusters={"by": "label"})
    digest = served.backend.jobs.get(found["id"]).resolved["dataset"]["digest"]

    assert served.backend.datasets.content(digest).examples == 4
    client.post(f"/v1/jobs/{found['id']}/cancel")
    assert client.delete(f"/v1/jobs/{found['id']}").status_code == 204
    assert not served.backend.blobs.exists(digest)


def test_post_with_a_ragged_inline_dataset_points_into_it(client: httpx.Client) -> None:
    answer = client.post("/v1/jobs", json=job(dataset={"fields": {"image": [[1, 2], [1]]}}))

    assert_problem(answer, 422, "ragged_field", "/dataset/fields/image/1")


def test_post_with_a_large_inline_dataset_is_too_large(client: httpx.Client) -> None:
    answer = client.post("/v1/jobs", json=job(dataset={"fields": {"image": [0.123456789] * 150_000}}))

    assert_problem(answer, 413, "dataset_too_large", "/dataset")


def test_post_on_a_model_under_inspection_waits_for_it(client: httpx.Client, served: Served) -> None:
    digest = put_model(client, "new", b"new archive")["digest"]
    found = post(client, model="new")
    assert (found["status"], found["position"], depth(served.backend.connection)) == ("queued", None, 0)

    with served.backend.blobs.writer() as sink:
        sink.write(b"clean")
    served.backend.models.ready(digest, MANIFEST, sink.digest)
    model_ready(served.backend.connection, served.backend.jobs, digest)

    assert client.get(f"/v1/jobs/{found['id']}").json()["position"] == 0


def test_post_on_a_model_that_is_then_rejected_fails(client: httpx.Client, served: Served) -> None:
    digest = put_model(client, "new", b"new archive")["digest"]
    found = post(client, model="new")

    model_rejected(served.backend.jobs, digest, PROBLEM)

    after = client.get(f"/v1/jobs/{found['id']}").json()
    assert (after["status"], after["problem"]["code"]) == ("failed", "internal")


def test_post_on_a_rejected_model_is_422(client: httpx.Client, served: Served) -> None:
    digest = put_model(client, "bad", b"bad archive")["digest"]
    served.backend.models.reject(digest, PROBLEM)

    assert_problem(client.post("/v1/jobs", json=job(model="bad")), 422, "model_rejected", "/model")


@pytest.mark.parametrize(
    ("changes", "code", "pointer"),
    [
        ({"model": "other"}, "model_not_found", "/model"),
        ({"dataset": "other"}, "dataset_not_found", "/dataset"),
        ({"layer": "conv9"}, "layer_not_found", "/layer"),
        ({"clusters": {"by": "members", "members": {"a": [0, 10]}}}, "member_out_of_range", "/clusters/members/a/1"),
        ({"target": {"class": 3}}, "class_out_of_range", "/target/class"),
    ],
)
def test_post_that_the_checks_refuse_is_422(
    client: httpx.Client, served: Served, changes: dict[str, Any], code: str, pointer: str
) -> None:
    assert_problem(client.post("/v1/jobs", json=job(**changes)), 422, code, pointer)
    assert depth(served.backend.connection) == 0


def test_post_with_a_high_priority_goes_first(client: httpx.Client) -> None:
    first = post(client)
    second = post(client, priority="high")

    assert client.get(f"/v1/jobs/{second['id']}").json()["position"] == 0
    assert client.get(f"/v1/jobs/{first['id']}").json()["position"] == 1


def test_post_over_the_queue_limit_is_429(serve: Callable[..., tuple[httpx.Client, Served]]) -> None:
    client, served = serve(queue_limit=1)
    ready_model(client, served)
    put_dataset(client)
    post(client)

    answer = client.post("/v1/jobs", json=job(seed=1))

    assert_problem(answer, 429, "queue_full")
    assert int(answer.headers["retry-after"]) > 0


def test_post_of_too_large_a_result_is_422(serve: Callable[..., tuple[httpx.Client, Served]]) -> None:
    client, served = serve(max_result_bytes=1000)
    ready_model(client, served)
    put_dataset(client)

    assert_problem(client.post("/v1/jobs", json=job()), 422, "result_too_large", "/ablation")


def test_post_when_the_store_is_full_is_503(client: httpx.Client, served: Served) -> None:
    served.backend.connection.config_set("maxmemory", "100kb")
    try:
        answer = client.post("/v1/jobs", json=job())
    finally:
        served.backend.connection.config_set("maxmemory", "1gb")

    assert_problem(answer, 503, "store_full")
    assert int(answer.headers["retry-after"]) > 0


def test_post_when_what_is_kept_of_it_has_no_room_is_503(serve: Callable[..., tuple[httpx.Client, Served]]) -> None:
    client, served = serve()
    ready_model(client, served)
    put_dataset(client)
    inline = {"fields": {"image": [[[[0.125, 0.25], [0.5, 1]]]] * 30_000, "y": [0] * 30_000}}
    used = int(served.backend.connection.info("memory")["used_memory"])
    served.backend.connection.config_set("maxmemory", int((used + 400_000) / 0.9))
    try:
        large = client.post("/v1/jobs", json=job(dataset=inline), timeout=60)
        small = client.post("/v1/jobs", json=job())
    finally:
        served.backend.connection.config_set("maxmemory", "1gb")

    assert_problem(large, 503, "store_full")
    assert small.status_code == 202


def test_post_when_others_were_promised_the_room_is_503_until_they_end(serve: Callable[..., tuple[httpx.Client, Served]]) -> None:
    client, served = serve()
    ready_model(client, served)
    put_dataset(client)
    used = int(served.backend.connection.info("memory")["used_memory"])
    served.backend.connection.config_set("maxmemory", int((used + 2_000_000) / 0.9))
    ids = []
    try:
        while (answer := client.post("/v1/jobs", json=job(seed=len(ids), ablation={"random": 9999}))).status_code == 202:
            ids.append(answer.json()["id"])
        assert_problem(answer, 503, "store_full")
        for id in ids:
            client.post(f"/v1/jobs/{id}/cancel")
        again = client.post("/v1/jobs", json=job(seed=len(ids), ablation={"random": 9999}))
    finally:
        served.backend.connection.config_set("maxmemory", "1gb")

    assert 1 <= len(ids) < 20
    assert again.status_code == 202


def test_post_when_the_metadata_is_large_is_422(client: httpx.Client) -> None:
    assert client.post("/v1/jobs", json=job(metadata={"a": "x" * 65_000})).status_code == 202

    answer = client.post("/v1/jobs", json=job(metadata={"a": "x" * 66_000}))
    assert_problem(answer, 422, "invalid_request", "/metadata")
    assert "at most 65536 are kept" in answer.json()["errors"][0]["detail"]


def test_get_shows_what_the_worker_says(client: httpx.Client, served: Served) -> None:
    id = post(client)["id"]
    attempt = served.backend.jobs.start(id, "cpu-0")
    assert attempt
    served.backend.jobs.progress(id, attempt, {"done": 1, "total": 4, "unit": "examples", "stage": "gradient", "eta": 2.0})

    found = Job.model_validate_json(client.get(f"/v1/jobs/{id}").content)
    assert (found.status, found.attempt, found.worker, found.position) == ("running", 1, "cpu-0", 0)
    assert found.progress
    assert found.progress.done == 1


def test_get_of_a_job_that_a_worker_has_just_taken_has_no_job_before_it(client: httpx.Client, served: Served) -> None:
    id = post(client)["id"]
    withdraw(served.backend.connection, "job", served.backend.jobs.get(id))

    found = client.get(f"/v1/jobs/{id}").json()

    assert (found["status"], found["position"]) == ("queued", 0)


def test_get_hands_on_the_request_as_it_is_stored(client: httpx.Client, served: Served) -> None:
    id = post(client)["id"]
    served.backend.connection.hset(keyspace.record("job", id), "request", '{"model": "net", "steps": 1.50}')

    assert client.get(f"/v1/jobs/{id}").content.endswith(b'"request":{"model": "net", "steps": 1.50}}')


def test_get_changes_its_etag_with_the_job(client: httpx.Client, served: Served) -> None:
    id = post(client)["id"]
    tag = client.get(f"/v1/jobs/{id}").headers["etag"]
    assert client.get(f"/v1/jobs/{id}", headers={"If-None-Match": tag}).status_code == 304

    served.backend.jobs.start(id, "cpu-0")

    assert client.get(f"/v1/jobs/{id}", headers={"If-None-Match": tag}).status_code == 200


@pytest.mark.parametrize(("params", "headers"), [({"wait": 30}, {}), ({}, {"Prefer": "respond-async, wait=30"})])
def test_get_with_wait_answers_when_the_job_ends(
    client: httpx.Client, served: Served, params: dict[str, int], headers: dict[str, str]
) -> None:
    id = post(client)["id"]
    attempt = served.backend.jobs.start(id, "cpu-0")
    assert attempt
    end = threading.Timer(0.2, served.backend.jobs.finish, [id, attempt, "failed"], {"problem": PROBLEM})
    end.start()

    answer = client.get(f"/v1/jobs/{id}", params=params, headers=headers, timeout=20)

    end.join()
    assert answer.json()["status"] == "failed"


def test_get_with_a_wait_that_is_over_answers_as_it_is(client: httpx.Client) -> None:
    id = post(client)["id"]

    assert client.get(f"/v1/jobs/{id}", params={"wait": 0.05}).json()["status"] == "queued"


def test_many_waits_at_once_are_all_answered(client: httpx.Client, served: Served) -> None:
    id = post(client)["id"]

    def wait(_: int) -> str:
        status: str = httpx.get(f"{served.url}/v1/jobs/{id}", params={"wait": 1}, timeout=20).json()["status"]
        return status

    with ThreadPoolExecutor(120) as pool:
        assert set(pool.map(wait, range(120))) == {"queued"}


def test_waits_when_a_key_has_its_share_then_one_more_is_429(serve: Callable[..., tuple[httpx.Client, Served]]) -> None:
    client, served = serve(key_waits=2)
    ready_model(client, served)
    put_dataset(client)
    id = post(client)["id"]

    def wait(_: int) -> str:
        status: str = httpx.get(f"{served.url}/v1/jobs/{id}", params={"wait": 60}, timeout=90).json()["status"]
        return status

    with ThreadPoolExecutor(2) as pool:
        waiting = pool.map(wait, range(2))
        # Asked over HTTP, one of the two might be the one too many.
        while served.backend.wait_limits._now != {"": 2}:
            time.sleep(0.01)
        answer = client.get(f"/v1/jobs/{id}?wait=0.01")
        events = client.get(f"/v1/jobs/{id}/events")
        at_once = client.get(f"/v1/jobs/{id}")
        client.post(f"/v1/jobs/{id}/cancel")
        assert set(waiting) == {"cancelled"}

    for refused in (answer, events):
        assert_problem(refused, 429, "too_many_waits")
        assert int(refused.headers["retry-after"]) > 0
    assert at_once.json()["status"] == "queued"
    assert client.get(f"/v1/jobs/{id}/events").status_code == 200
    assert served.backend.wait_limits._now == {}


def test_events_when_others_took_the_share_meanwhile_then_end_without_an_error(client: httpx.Client, served: Served) -> None:
    record = served.backend.jobs.get(post(client)["id"])
    limits = WaitLimits(1)

    async def lines() -> list[bytes]:
        return [line async for line in event_lines(record, "0-0", "key", follower=served.backend.follower, wait_limits=limits)]

    with limits.hold("key"):
        assert asyncio.run(lines()) == []


def test_get_with_wait_answers_when_the_service_is_about_to_stop(serve: Callable[..., tuple[httpx.Client, Served]]) -> None:
    client, served = serve()
    ready_model(client, served)
    put_dataset(client)
    id = post(client)["id"]
    served.app.state.closing = True

    assert client.get(f"/v1/jobs/{id}", params={"wait": 60}, timeout=20).json()["status"] == "queued"


@pytest.mark.parametrize("wait", ["61", "-1", "x", "nan", "inf"])
def test_get_with_a_wrong_wait_is_422(client: httpx.Client, wait: str) -> None:
    id = post(client)["id"]

    assert_problem(client.get(f"/v1/jobs/{id}", params={"wait": wait}), 422, "invalid_parameter", "/query/wait")


@pytest.mark.parametrize("id", ["x", "0" * 26, "0" * 26 + ":events", "..%2f..", "é"])
def test_requests_for_no_job_are_404(client: httpx.Client, id: str) -> None:
    for answer in (
        client.get(f"/v1/jobs/{id}"),
        client.get(f"/v1/jobs/{id}", params={"wait": 10}),
        client.get(f"/v1/jobs/{id}/result"),
        client.get(f"/v1/jobs/{id}/events"),
        client.post(f"/v1/jobs/{id}/cancel"),
        client.delete(f"/v1/jobs/{id}"),
    ):
        assert answer.status_code == 404
        assert answer.json()["code"] in ("job_not_found", "not_found")


def test_list_is_newest_first_and_goes_on(client: httpx.Client) -> None:
    ids = [post(client)["id"] for _ in range(3)]

    first = client.get("/v1/jobs", params={"limit": 2}).json()
    second = client.get("/v1/jobs", params={"limit": 2, "after": first["next"]}).json()

    assert [found["id"] for found in first["items"] + second["items"]] == ids[::-1]
    assert second["next"] is None


def test_list_by_status_and_model(client: httpx.Client, served: Served) -> None:
    ready_model(client, served, "other")
    cancelled = post(client)["id"]
    client.post(f"/v1/jobs/{cancelled}/cancel")
    other = post(client, model="other")["id"]

    assert [found["id"] for found in client.get("/v1/jobs", params={"status": "cancelled"}).json()["items"]] == [cancelled]
    assert [found["id"] for found in client.get("/v1/jobs", params={"model": "other"}).json()["items"]] == [other]


@pytest.mark.parametrize("params", [{"limit": 0}, {"limit": 201}, {"limit": "x"}, {"status": "done"}])
def test_list_with_wrong_parameters_is_422(client: httpx.Client, params: dict[str, Any]) -> None:
    assert_problem(client.get("/v1/jobs", params=params), 422, "invalid_parameter", f"/query/{next(iter(params))}")


def test_cancel_of_a_queued_job_ends_it_and_may_be_repeated(client: httpx.Client, served: Served) -> None:
    id = post(client)["id"]

    answers = [client.post(f"/v1/jobs/{id}/cancel") for _ in range(2)]

    assert [(answer.status_code, answer.json()["status"]) for answer in answers] == [(202, "cancelled")] * 2
    assert depth(served.backend.connection) == 0


def test_cancel_of_a_running_job_asks_its_worker(client: httpx.Client, served: Served) -> None:
    id = post(client)["id"]
    served.backend.jobs.start(id, "cpu-0")

    assert client.post(f"/v1/jobs/{id}/cancel").json()["status"] == "cancelling"


def test_delete_of_a_live_job_is_409(client: httpx.Client) -> None:
    id = post(client)["id"]

    assert_problem(client.delete(f"/v1/jobs/{id}"), 409, "job_not_ended")


def test_delete_of_an_ended_job_leaves_nothing(client: httpx.Client) -> None:
    id = post(client)["id"]
    client.post(f"/v1/jobs/{id}/cancel")

    assert client.delete(f"/v1/jobs/{id}").status_code == 204
    assert_problem(client.get(f"/v1/jobs/{id}"), 404, "job_not_found")


def test_events_tell_the_whole_story_and_end_with_the_job(client: httpx.Client, served: Served) -> None:
    id = post(client)["id"]
    attempt = served.backend.jobs.start(id, "cpu-0")
    assert attempt
    served.backend.jobs.progress(id, attempt, {"done": 1, "total": 2, "unit": "examples", "stage": "s", "eta": None})
    end = threading.Timer(0.1, served.backend.jobs.finish, [id, attempt, "failed"], {"problem": PROBLEM})
    end.start()

    with client.stream("GET", f"/v1/jobs/{id}/events") as answer:
        lines = [line for line in answer.iter_lines() if line]

    end.join()
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert [line for line in lines if line.startswith("event")] == [
        "event: status",
        "event: status",
        "event: progress",
        "event: status",
    ]
    assert '"failed"' in lines[-1]
    assert all(datetime.fromisoformat(at).tzinfo == UTC for at in re.findall(r'"at":"(.*?)"', "".join(lines)))
    assert "".join(lines).count('"at":"') == 3


def test_events_after_an_id_that_is_none_begin_anew(client: httpx.Client) -> None:
    id = post(client)["id"]
    client.post(f"/v1/jobs/{id}/cancel")
    whole = client.get(f"/v1/jobs/{id}/events").text

    for last in ("99999999999999999999-1", "x", "1-", "-1-1"):
        assert client.get(f"/v1/jobs/{id}/events", headers={"Last-Event-ID": last}).text == whole


def test_events_after_the_last_id_leave_out_what_is_known(client: httpx.Client) -> None:
    id = post(client)["id"]
    client.post(f"/v1/jobs/{id}/cancel")
    lines = [line for line in client.get(f"/v1/jobs/{id}/events").text.splitlines() if line.startswith("id: ")]

    rest = client.get(f"/v1/jobs/{id}/events", headers={"Last-Event-ID": lines[0].removeprefix("id: ")}).text
    nothing = client.get(f"/v1/jobs/{id}/events", headers={"Last-Event-ID": lines[-1].removeprefix("id: ")}).text

    assert [line for line in rest.splitlines() if line.startswith("id: ")] == lines[1:]
    assert nothing == ""
