"""A request that must be divided, and workers with and without a Ray cluster."""

import httpx
import pytest

from tests.service.conftest import Served, job
from unitrank_store.queue.rq_queue import INSPECTIONS, JOBS
from unitrank_store.worker_registry import WorkerEntry


def beat(served: Served, name: str, distributes: bool | None, queue: str = JOBS) -> None:
    served.backend.workers.beat(WorkerEntry(name, queue, "cpu", 1, "host", 0, 0, distributes=distributes))


@pytest.mark.parametrize("parameters", [{}, {"dry_run": "true"}], ids=["job", "dry run"])
def test_post_when_no_worker_has_ray_then_is_rejected_and_no_job_is_made(
    client: httpx.Client, served: Served, parameters: dict[str, str]
) -> None:
    beat(served, "a", False)
    beat(served, "b", False)
    beat(served, "inspector", None, INSPECTIONS)
    answer = client.post("/v1/jobs", json=job(execution="distributed"), params=parameters)

    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["errors"][0]["pointer"]) == (422, "ray_unreachable", "/execution")
    assert "no worker has UNITRANK_RAY (2 are alive); use 'auto' or 'local'" in problem["detail"]
    assert served.backend.jobs.count("queued") == 0


@pytest.mark.parametrize("workers", [[], [False, True], [False, None]], ids=["no worker", "one with Ray", "an older one"])
def test_post_when_a_worker_may_have_ray_then_is_accepted(client: httpx.Client, served: Served, workers: list[bool | None]) -> None:
    for number, distributes in enumerate(workers):
        beat(served, f"w{number}", distributes)

    assert client.post("/v1/jobs", json=job(execution="distributed")).status_code == 202


@pytest.mark.parametrize("execution", ["auto", "local"])
def test_post_when_it_need_not_be_divided_then_workers_without_ray_take_it(
    client: httpx.Client, served: Served, execution: str
) -> None:
    beat(served, "a", False)

    assert client.post("/v1/jobs", json=job(execution=execution)).status_code == 202


def test_post_when_an_equal_job_exists_then_needs_no_ray(client: httpx.Client, served: Served) -> None:
    earlier = client.post("/v1/jobs", json=job()).json()
    beat(served, "a", False)

    assert client.post("/v1/jobs", json=job(execution="distributed")).json()["id"] == earlier["id"]
