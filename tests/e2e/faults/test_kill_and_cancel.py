"""Over HTTP: a worker's child is killed, and jobs are cancelled while they run."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import torch
from torch import nn

from tests.e2e.conftest import save
from tests.support.polling import wait_until
from unitrank.client.sync import Client
from unitrank.server.local import Local

pytestmark = pytest.mark.check


@pytest.fixture
def long_job(client: Client, http: httpx.Client, tmp_path: Path) -> Callable[[int], str]:
    """A function that posts a job of some seconds, waits until it runs, and returns its id."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(16, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 4))
    client.models.put("wide", save(net, tmp_path / "wide.pt2", torch.zeros(2, 16)))
    x = torch.randn(1500, 16).tolist()

    def post(seed: int) -> str:
        job = {"model": "wide", "layer": "1", "dataset": {"fields": {"x": x}}, "seed": seed, "ablation": None}
        job["methods"] = [{"name": "conductance", "steps": 300}]
        id = http.post("/v1/jobs", json=job).raise_for_status().json()["id"]
        wait_for(http, id, lambda job: job["status"] == "running" and job["progress"])
        return str(id)

    return post


def wait_for(http: httpx.Client, id: str, reached: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """The job, as soon as `reached` is true for it."""

    def read() -> dict[str, Any] | None:
        job: dict[str, Any] = http.get(f"/v1/jobs/{id}").json()
        return job if reached(job) else None

    return wait_until(read, f"job {id} reaches the state")


def child_of_the_job_worker(stack: Local) -> int:
    """The id of the process that computes the jobs."""
    children = [
        process
        for process in psutil.Process(stack.process.pid).children(recursive=True)
        if "unitrank_worker.process.child" in process.cmdline() and "jobs" in process.parent().cmdline()  # type: ignore[union-attr]
    ]
    # A spare is younger than the child that has jobs.
    return min(children, key=lambda child: child.create_time()).pid


@pytest.mark.timeout(180)
def test_child_when_killed_during_a_job_then_the_job_runs_again_and_succeeds(
    stack: Local, http: httpx.Client, long_job: Callable[[int], str]
) -> None:
    id = long_job(1)

    os.kill(child_of_the_job_worker(stack), signal.SIGKILL)

    job = wait_for(http, id, lambda job: job["status"] in {"succeeded", "failed"})
    assert (job["status"], job["attempt"]) == ("succeeded", 2)


@pytest.mark.timeout(180)
def test_job_when_it_kills_two_children_then_it_fails_as_worker_lost_and_the_next_one_runs(
    stack: Local, http: httpx.Client, long_job: Callable[[int], str]
) -> None:
    id = long_job(2)
    os.kill(child_of_the_job_worker(stack), signal.SIGKILL)
    wait_for(http, id, lambda job: job["attempt"] == 2 and job["status"] == "running")
    os.kill(child_of_the_job_worker(stack), signal.SIGKILL)

    job = wait_for(http, id, lambda job: job["status"] in {"succeeded", "failed"})
    assert (job["status"], job["attempt"]) == ("failed", 2)
    assert job["problem"]["code"] == "worker_lost"
    assert http.get(f"/v1/jobs/{id}/result").json()["code"] == "job_failed"
    assert long_job(3)


@pytest.mark.timeout(180)
def test_running_job_when_cancelled_then_it_ends_and_the_next_one_runs(http: httpx.Client, long_job: Callable[[int], str]) -> None:
    id = long_job(4)

    assert http.post(f"/v1/jobs/{id}/cancel").status_code == 202
    assert http.post(f"/v1/jobs/{id}/cancel").status_code == 202

    assert wait_for(http, id, lambda job: job["status"] != "cancelling")["status"] == "cancelled"
    assert http.get(f"/v1/jobs/{id}/result").json()["code"] == "job_cancelled"
    following = long_job(5)
    assert http.post(f"/v1/jobs/{following}/cancel").status_code == 202
