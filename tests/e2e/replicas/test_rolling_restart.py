"""Services and workers are replaced in turn while clients send jobs: nothing is lost."""

import json
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis
from benchmarks.support.in_turn import InTurn

from tests.e2e.replicas.installation import Installation
from tests.service.conftest import job
from tests.support.polling import wait_until
from unitrank.client.sync import Client
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.redis import keyspace

pytestmark = pytest.mark.slow

CLIENTS = 4


@dataclass
class Load:
    """Jobs of clients that send one job after the other.

    `folder`: for the results. `ended`: ids of the jobs whose result a client has fetched.
    """

    services: Installation
    folder: Path
    stop: threading.Event = field(default_factory=threading.Event)
    ended: list[str] = field(default_factory=list)

    def send(self, number: int) -> None:
        """Post jobs and fetch their results until `stop` is set. Raises the client's errors."""
        with Client("http://127.0.0.1", transport=InTurn(self.services.urls)) as client:
            for count in range(10_000):
                if self.stop.is_set():
                    break
                seed = number * 10_000 + count
                handle = client.jobs.submit(job(seed=seed, metadata={"do": [["report", 0.05]], "seed": seed}))
                handle.wait(60, quiet=True)
                result = handle.download(self.folder / handle.id, "application/json")
                assert "runs" in json.loads(result.read_text())
                self.ended.append(handle.id)

    def goes_on(self) -> None:
        """Wait until each client could end another job."""
        count = len(self.ended) + 2 * CLIENTS
        wait_until(lambda: len(self.ended) >= count, "the clients go on")


@contextmanager
def loaded(services: Installation, folder: Path) -> Iterator[Load]:
    """Clients send jobs during the block. Afterwards the errors of the clients are raised."""
    load = Load(services, folder)
    with ThreadPoolExecutor(CLIENTS) as pool:
        clients: list[Future[None]] = [pool.submit(load.send, number) for number in range(CLIENTS)]
        try:
            yield load
        finally:
            load.stop.set()
    for client in clients:
        client.result()


def test_jobs_when_all_processes_are_replaced_in_turn_then_each_ends_once(
    prepared: Installation, connection: redis.Redis, tmp_path: Path
) -> None:
    for _ in range(2):
        prepared.start_worker(engine="Scripted")
    exits = []
    with loaded(prepared, tmp_path) as load:
        load.goes_on()
        for service in list(prepared.services):
            exits.append(service.stop())
            prepared.remove(service)
            prepared.await_ready(prepared.start_service())
            load.goes_on()
        for worker in list(prepared.workers):
            prepared.start_worker(engine="Scripted")
            exits.append(worker.stop())
            prepared.remove(worker)
            load.goes_on()
    for worker in list(prepared.workers):
        worker.stop()
        prepared.remove(worker)

    # uvicorn ends by the signal itself, after the shutdown.
    assert exits == [-signal.SIGTERM] * 3 + [0] * 2
    jobs = JobStore(connection)
    records = [record for record in jobs.list(1000)[0] if "seed" in record.request["metadata"]]
    assert {record.id for record in records} == set(load.ended)
    assert {(record.status, record.losses) for record in records} == {("succeeded", 0)}
    for record in records:
        entries = connection.xrange(keyspace.events("job", record.id))
        statuses = [json.loads(fields[b"data"])["status"] for _, fields in entries if fields[b"kind"] == b"status"]
        assert statuses == ["queued", "running", "succeeded"]
    assert len({record.request["metadata"]["seed"] for record in records}) == len(records)
