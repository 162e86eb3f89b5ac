"""One key posts thousands of jobs: how long another key's job waits, and how quickly the service answers meanwhile.

Ends with 1 where another's job is lost or waits for more than two jobs, or where the slowest of a hundred answers takes 0.1 s.
"""

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count, takewhile
from multiprocessing.connection import Connection
from pathlib import Path

import httpx
import numpy as np
import redis
import torch
from torch import nn

from benchmarks.support.goals import ends, tell
from benchmarks.support.uploads import await_ready, put_dataset, put_model
from unitrank.server.local import local
from unitrank_store.access.api_keys import KeyStore
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.jobs.record import JobRecord
from unitrank_store.redis.connection import connect
from unitrank_store.redis.embedded import socket_url

JOB = {"model": "flood", "layer": "1", "dataset": "flood", "methods": [{"name": "conductance", "steps": 100}]}
SHORT = {"ablation": None, "fidelity": None}
POSTERS = 4
WAIT_SECONDS = 60
PAUSE_SECONDS = 0.01
MOST_JOBS = 2
MOST_SECONDS = 0.1
PATHS = ("/v1/jobs?limit=20", "/v1/models/flood", "/v1/workers")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000, help="what the one key posts")
    parser.add_argument("--others", type=int, default=20, help="jobs of the other key")
    parser.add_argument("--seconds", type=float, default=300, help="the flood ends after that")
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="unitrank-flood-") as name,
        local(Path(name)) as service,
        connect(socket_url(Path(name, "state")), 10) as connection,
    ):
        flood, other = _prepared(service.url, connection, Path(name))
        _measure(service.url, connection, flood, other, given.jobs, given.others, given.seconds)


def _measure(url: str, connection: redis.Redis, flood: str, other: str, jobs: int, others: int, seconds: float) -> None:
    with _looking(url, other) as while_it_posts:
        began = time.monotonic()
        posted = _post(url, flood, jobs, seconds)
        took = time.monotonic() - began
    with _looking(url, other) as after_that, _http(url, other) as http:
        # Other seeds than those of the flood: equal jobs would be answered with what has been computed.
        ids = list(takewhile(lambda id: _ends(http, id), (_post_one(http, jobs + number) for number in range(others))))
    print(f"{posted} jobs of one key posted in {took:.0f} s; {JobStore(connection).count('queued')} of them still wait at the end")
    looked = {"while it posts": while_it_posts, "after that": after_that}
    for when, looks in looked.items():
        p50, p95, p99 = np.percentile(looks, [50, 95, 99]) * 1000
        print(f"GET {when:15} {len(looks):6}   p50 {p50:6.1f} ms   p95 {p95:6.1f} ms   p99 {p99:6.1f} ms (goal: p99 under 100 ms)")
    waits = _waits(JobStore(connection), ids)
    _tell(waits)
    tell(missed(others - len(ids), [before for before, *_ in waits], looked))


def missed(lost: int, waits: list[int], looked: dict[str, list[float]]) -> list[str]:
    """The goals that were."""
    slow = {when: float(np.percentile(looks, 99)) for when, looks in looked.items()}
    return [
        *(["another key's job did not end"] if lost else []),
        *([f"another key's job waited for {max(waits)} jobs, more than {MOST_JOBS}"] if max(waits, default=0) > MOST_JOBS else []),
        *(f"{when} the p99 of GET is {p99 * 1000:.0f} ms" for when, p99 in slow.items() if p99 >= MOST_SECONDS),
    ]


@contextmanager
def _looking(url: str, key: str) -> Iterator[list[float]]:
    """Seconds of GETs, one after the other, for as long as the block runs; by a process that has nothing else to do."""
    near, far = (context := multiprocessing.get_context("spawn")).Pipe()
    process = context.Process(target=_look, args=(url, key, far), daemon=True)
    process.start()
    near.recv()
    looks: list[float] = []
    try:
        yield looks
        near.send("enough")
        looks += near.recv()
    finally:
        process.kill()
        process.join()


def _look(url: str, key: str, far: Connection) -> None:
    looks: list[float] = []
    with _http(url, key) as http:
        far.send("ready")
        for number in count():
            began = time.perf_counter()
            http.get(PATHS[number % len(PATHS)]).raise_for_status()
            looks.append(time.perf_counter() - began)
            if far.poll(PAUSE_SECONDS):
                break
    far.send(looks)


def _tell(waits: list[tuple[int, float, float]]) -> None:
    if not waits:
        return
    before = [jobs for jobs, _, _ in waits]
    print(f"the other key's job waited for at most {max(before)} jobs (goal: two), {np.mean(before):.1f} on average")
    longest = max(seconds for _, seconds, _ in waits)
    print(f"and for at most {longest * 1000:.0f} ms; a job takes {np.median([run for *_, run in waits]) * 1000:.0f} ms")


def _waits(jobs: JobStore, ids: list[str]) -> list[tuple[int, float, float]]:
    """Of each: the jobs that ended between its arrival and its start, the seconds between the two, and those that it ran."""
    every: list[JobRecord] = []
    after: str | None = None
    while True:
        page, after = jobs.list(200, after)
        every += page
        if after is None:
            break
    ends = np.array([record.finished_at for record in every if record.finished_at is not None])
    waits = []
    for record in jobs.get_many(ids):
        assert record.started_at is not None
        assert record.finished_at is not None
        between = int(((ends > record.created_at) & (ends <= record.started_at)).sum())
        waits.append((between, record.started_at - record.created_at, record.finished_at - record.started_at))
    return waits


def _post(url: str, key: str, jobs: int, seconds: float) -> int:
    """How many were accepted."""
    numbers = count()
    deadline = time.monotonic() + seconds

    def poster(_: int) -> int:
        with _http(url, key) as http:
            accepted = 0
            while (number := next(numbers)) < jobs and time.monotonic() < deadline:
                accepted += http.post("/v1/jobs", json={**JOB, **SHORT, "seed": number}).raise_for_status().status_code == 202
            return accepted

    with ThreadPoolExecutor(POSTERS) as pool:
        return sum(pool.map(poster, range(POSTERS)))


def _post_one(http: httpx.Client, seed: int) -> str:
    return str(http.post("/v1/jobs", json={**JOB, **SHORT, "seed": seed}).raise_for_status().json()["id"])


def _ends(http: httpx.Client, id: str) -> bool:
    def is_over() -> bool:
        answer = http.get(f"/v1/jobs/{id}", params={"wait": WAIT_SECONDS}).raise_for_status()
        return answer.json()["finished_at"] is not None

    return ends(is_over)


def _prepared(url: str, connection: redis.Redis, folder: Path) -> tuple[str, str]:
    """The secrets of two keys, after a model and its data were uploaded."""
    with _http(url, "") as http:
        await_ready(http)
    flood, other = (KeyStore(connection).create(name, ["admin"])[1] for name in ("flood", "other"))
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 3))
    with _http(url, other) as http:
        put_dataset(http, "flood", folder, x=np.random.default_rng(0).normal(size=(100, 16)).astype(np.float32))
        put_model(http, "flood", net, torch.randn(2, 16), folder)
    return flood, other


def _http(url: str, key: str) -> httpx.Client:
    return httpx.Client(
        base_url=url, headers={"Authorization": f"Bearer {key}"} if key else {}, timeout=2 * WAIT_SECONDS, trust_env=False
    )


if __name__ == "__main__":
    main()
