"""The service rejects a job if the queue or the store has no room."""

from collections.abc import Callable

import httpx

from tests.service.conftest import Served, assert_problem, job, put_dataset, ready_model
from tests.service.jobs.conftest import post


def test_post_over_the_queue_limit_is_429(serve: Callable[..., tuple[httpx.Client, Served]]) -> None:
    client, served = serve(queue_limit=1)
    ready_model(client, served)
    put_dataset(client)
    post(client)

    answer = client.post("/v1/jobs", json=job(seed=1))

    assert_problem(answer, 429, "queue_full")
    assert int(answer.headers["retry-after"]) > 0


def test_post_when_the_store_is_full_is_503(client: httpx.Client, served: Served) -> None:
    served.backend.connection.config_set("maxmemory", "100kb")
    try:
        answer = client.post("/v1/jobs", json=job())
    finally:
        served.backend.connection.config_set("maxmemory", "1gb")

    assert_problem(answer, 503, "store_full")
    assert int(answer.headers["retry-after"]) > 0


def test_post_when_its_request_does_not_fit_is_503(serve: Callable[..., tuple[httpx.Client, Served]]) -> None:
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


def test_post_when_the_room_is_reserved_for_other_jobs_is_503_until_they_end(
    serve: Callable[..., tuple[httpx.Client, Served]],
) -> None:
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
