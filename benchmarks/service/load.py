"""Measure small jobs per second for many clients, and the same computation in RQ's plain worker.

Each client posts a job, waits for its end and posts the next one. The plain worker is RQ's
`SimpleWorker`. It loads the engine once and runs the computation of Unitrank's child in its own
process, without record, result store, progress, limits or cancellation. The exit status is 1 if a
job is lost, or if a job takes more than three times as long as in the plain worker.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import redis
import torch
from rq import Queue
from rq.job import Job
from torch import nn

from benchmarks.support.cpu_time import wait_until_idle
from benchmarks.support.goals import ends, report_missed
from benchmarks.support.plain_worker import QUEUE, compute
from benchmarks.support.uploads import await_ready, put_dataset, put_model
from unitrank.server.local import local
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.redis.connection import connect
from unitrank_store.redis.embedded import socket_url

Json = dict[str, Any]
# Runs a job and returns whether it ended. The argument is its seed: a new seed makes a new job.
RunJob = Callable[[int], bool]

JOB: Json = {
    "model": "tiny",
    "layer": "1",
    "dataset": "tiny",
    "methods": ["gradient"],
    "ablation": None,
    "fidelity": None,
}
WARM = 20
WAIT_SECONDS = 60
MOST_OVERHEAD = 3.0


@dataclass
class Measured:
    """Times in seconds.

    `seconds`: from the first post to the last end. `jobs`: of each job, from its post to its end.
    """

    seconds: float = 0.0
    jobs: list[float] = field(default_factory=list)

    @property
    def each(self) -> float:
        """Seconds from the end of a job to the end of the next job, on average."""
        return self.seconds / len(self.jobs)

    def __str__(self) -> str:
        p50, p95, p99 = np.percentile(self.jobs, [50, 95, 99]) * 1000
        rate = len(self.jobs) / self.seconds
        return f"{len(self.jobs):6} jobs {rate:8.1f} per second   p50 {p50:7.1f} ms   p95 {p95:7.1f} ms   p99 {p99:7.1f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2000, help="number of measured jobs")
    parser.add_argument("--clients", type=int, default=50, help="clients that post at the same time")
    parser.add_argument("--seconds", type=float, default=120, help="post no job after this time, in seconds")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="unitrank-load-") as name, local(Path(name)) as service:
        folder = Path(name)
        with httpx.Client(base_url=service.url, timeout=90, trust_env=False) as http:
            await_ready(http)
            torch.manual_seed(0)
            put_dataset(http, "tiny", folder, x=np.ones((4, 4), dtype=np.float32))
            net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
            put_model(http, "tiny", net, torch.randn(2, 4), folder)
        with connect(socket_url(folder / "state"), 10) as connection:
            unitrank, lost = _unitrank(service.url, connection, options.jobs, options.clients, options.seconds)
            plain = _plain(connection, folder / "state", options.jobs, options.clients, options.seconds)
    print(f"{options.clients} clients, one worker, small jobs, nothing reused (goal: at most 3 times RQ's SimpleWorker)")
    print(f"unitrank        {unitrank}")
    print(f"rq SimpleWorker {plain}")
    print(f"a job takes {unitrank.each / plain.each:.2f} times as long as in RQ's SimpleWorker; {lost} jobs lost")
    report_missed(missed_goals(unitrank.each / plain.each, lost))


def missed_goals(overhead: float, lost: int) -> list[str]:
    """One sentence for each goal that was missed."""
    return [
        *([f"{lost} jobs were lost"] if lost else []),
        *(
            [f"a job takes {overhead:.2f} times as long as in RQ's worker; the goal is at most {MOST_OVERHEAD:g}"]
            if overhead > MOST_OVERHEAD
            else []
        ),
    ]


def _unitrank(url: str, connection: redis.Redis, jobs: int, clients: int, seconds: float) -> tuple[Measured, int]:
    """The times over HTTP, and the number of accepted jobs that did not succeed."""
    accepted: list[str] = []
    address = urlsplit(url)
    local_data = threading.local()

    def run_job(number: int) -> bool:
        if not hasattr(local_data, "http"):
            local_data.http = HTTPConnection(str(address.hostname), address.port, timeout=2 * WAIT_SECONDS)
        posted = _request(local_data.http, "POST", "/v1/jobs", {**JOB, "seed": number})
        accepted.append(posted["id"])
        path = f"/v1/jobs/{posted['id']}?wait={WAIT_SECONDS}"
        return ends(lambda: _request(local_data.http, "GET", path)["finished_at"] is not None)

    measured = _measure(run_job, jobs, clients, seconds)
    records = JobStore(connection).get_many(accepted)
    return measured, len(accepted) - sum(record.status == "succeeded" for record in records)


def _request(connection: HTTPConnection, verb: str, path: str, body: Json | None = None) -> Json:
    # no-cache: the service reuses no part of an earlier job
    headers = {"Content-Type": "application/json", "Cache-Control": "no-cache"}
    connection.request(verb, path, json.dumps(body) if body else None, headers)
    answer = connection.getresponse()
    text = answer.read()
    if answer.status not in (200, 202):
        raise SystemExit(f"{verb} {path} got status {answer.status} instead of 200 or 202: {text[:300]!r}")
    content: Json = json.loads(text)
    return content


def _plain(connection: redis.Redis, state: Path, jobs: int, clients: int, seconds: float) -> Measured:
    record = JobStore(connection).list(1)[0][0]
    queue = Queue(QUEUE, connection=connection)

    def run_job(number: int) -> bool:
        job: Job = queue.enqueue(compute, str(state), record.id, {**record.request, "seed": number}, record.resolved)
        result = job.latest_result(timeout=WAIT_SECONDS)
        if result is None or result.type != result.Type.SUCCESSFUL:
            raise SystemExit(f"RQ's job failed: {result.exc_string if result else 'no result'}")
        return True

    with _plain_worker(state):
        return _measure(run_job, jobs, clients, seconds)


@contextmanager
def _plain_worker(state: Path) -> Iterator[None]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.support.plain_worker", socket_url(state)], env=environment, stdin=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


def _measure(run_job: RunJob, jobs: int, clients: int, seconds: float) -> Measured:
    """Run the jobs, after `WARM` jobs that are not measured.

    After a job that does not end, no more are started. `seconds`: no job starts after this time.
    """
    numbers = count()
    if not all(run_job(next(numbers)) for _ in range(WARM)):
        raise SystemExit("a job of the warm-up did not end")
    # After the first job, spare children load their engines: seconds of CPU time.
    wait_until_idle()
    measured, lost = Measured(), threading.Event()
    began = time.monotonic()

    def client(_: int) -> None:
        while (number := next(numbers)) < jobs + WARM and time.monotonic() - began < seconds and not lost.is_set():
            start = time.perf_counter()
            if not run_job(number):
                lost.set()
                return
            measured.jobs.append(time.perf_counter() - start)

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(client, range(clients)))
    measured.seconds = time.monotonic() - began
    return measured


if __name__ == "__main__":
    main()
