"""Real workers: processes with children, on a real store."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest
import redis

from tests.support.polling import wait_until
from unitrank_schemas.base import Json
from unitrank_service.jobs.job_resource import cancelled
from unitrank_store.blobs.blob_store import BlobStore
from unitrank_store.contents.models import ModelStore
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.jobs.record import DEFAULT_TENANT, JobRecord
from unitrank_store.queue.rq_queue import enqueue_job
from unitrank_store.redis.connection import connect
from unitrank_store.redis.embedded import EmbeddedServer
from unitrank_store.results.result_store import ResultStore
from unitrank_store.settings import Settings
from unitrank_store.worker_registry import WorkerRegistry

REQUEST: Json = {"model": "m", "layer": "l", "dataset": "d", "methods": ["gradient"], "timeout": 60}
ROOT = Path(__file__).parents[3]


class Running:
    """A worker's process."""

    def __init__(
        self,
        url: str,
        state: Path,
        name: str,
        engine: str,
        queue: str,
        settings: dict[str, str],
        drain: float | None,
        prefix: Sequence[str] = (),
    ) -> None:
        """`prefix`: the beginning of the command."""
        # The worker starts its child with -P, which reads PYTHONPATH but not the current folder.
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        variables = {"UNITRANK_HEARTBEAT": "0.2", "UNITRANK_HEARTBEAT_GRACE": "1", "PYTHONPATH": path}
        # The engines of these tests write and read files outside of their scratch folder.
        variables |= {"UNITRANK_CONFINEMENT": "off", **settings}
        command = [
            *prefix,
            sys.executable,
            "-m",
            "unitrank_worker",
            "--name",
            name,
            "--queue",
            queue,
            "--engine",
            engine if ":" in engine else f"tests.worker.scripted_engine:{engine}",
        ]
        self.name = name
        self.process = subprocess.Popen(
            command + (["--drain", str(drain)] if drain is not None else []),
            env={**os.environ, **variables, "REDIS_URL": url, "UNITRANK_STATE": str(state)},
            stdin=subprocess.DEVNULL,
        )

    def child(self) -> int:
        """The process id of the child of its only tenant: a spare is younger."""
        return min(self.children(), key=lambda child: child.create_time()).pid

    def children(self) -> list[psutil.Process]:
        """Its children that run, with the spare."""
        return [child for child in psutil.Process(self.process.pid).children() if not gone(child.pid)]

    def end(self) -> None:
        """Kill it; its child ends with it."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class Bench:
    """A store, its workers and their jobs."""

    def __init__(self, url: str, connection: redis.Redis, state: Path) -> None:
        self.url = url
        self.connection = connection
        self.state = state
        self.jobs = JobStore(connection)
        self.blobs = BlobStore.of(Settings(state=state))
        self.workers: list[Running] = []
        self.resolved = self._contents()

    def start(
        self,
        name: str = "w",
        engine: str = "Scripted",
        queue: str = "jobs",
        *,
        wait: bool = True,
        drain: float | None = None,
        prefix: Sequence[str] = (),
        **settings: str,
    ) -> Running:
        """A worker that is ready."""
        worker = Running(self.url, self.state, name, engine, queue, settings, drain, prefix)
        self.workers.append(worker)
        if wait:
            wait_until(lambda: name in [each.name for each in WorkerRegistry(self.connection).list()], f"{name} is ready")
        return worker

    def submit(self, *script: list[object], tenant: str = DEFAULT_TENANT, **fields: object) -> str:
        """The id of a new job with this script for the engine."""
        jobs = JobStore(self.connection, tenant=tenant)
        record = jobs.create({**REQUEST, "metadata": {"do": list(script)}, **fields}, self.resolved)
        enqueue_job(self.connection, record)
        return record.id

    def status(self, id: str) -> str:
        return self.jobs.get(id).status

    def ended(self, id: str) -> JobRecord:
        """The job once it has ended."""
        wait_until(lambda: self.jobs.get(id).ended, f"{id} ends")
        return self.jobs.get(id)

    def running(self, id: str) -> None:
        wait_until(lambda: self.status(id) != "queued", f"{id} runs")

    def idle(self) -> None:
        """Wait until every worker has closed its last job; its record ends a moment before."""
        workers = self.connection.smembers("rq:workers")
        wait_until(lambda: all(self.connection.hget(worker, "state") == b"idle" for worker in workers), "the workers are idle")

    def summary(self, id: str) -> Json:
        """The summary that the job's engine returned."""
        record = self.ended(id)
        assert record.status == "succeeded", record.problem
        results = ResultStore(self.connection, self.blobs, Settings(state=self.state))
        summary: Json = results.summary(record.result)  # type: ignore[arg-type]
        return summary

    def _contents(self) -> Json:
        """A model and a dataset, as a job's record names them."""
        archive, clean, table = (self._blob(data) for data in (b"archive", b"clean", b"table"))
        models = ModelStore(self.connection, self.blobs)
        models.begin("m", archive, 7, "1")
        models.ready(archive, {"layers": []}, clean)
        return {"model": {"name": "m", "digest": archive}, "dataset": {"name": "d", "digest": table}, "checked": True}

    def _blob(self, data: bytes) -> str:
        with self.blobs.writer() as writer:
            writer.write(data)
        return writer.digest

    def close(self) -> None:
        for worker in self.workers:
            worker.end()


def cancel(bench: Bench, id: str) -> JobRecord:
    """Cancel the job as the service does."""
    return cancelled(id, jobs=bench.jobs, connection=bench.connection)


@pytest.fixture(scope="module")
def shared(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """One worker for all tests of a module that do not end it."""
    with connect(server.url) as connection:
        connection.flushall()
        bench = Bench(server.url, connection, tmp_path_factory.mktemp("state"))
        try:
            bench.start()
            yield bench
        finally:
            bench.close()


@pytest.fixture
def bench(redis_url: str, connection: redis.Redis, tmp_path: Path) -> Iterator[Bench]:
    """A store without workers, for tests that start and kill theirs."""
    bench = Bench(redis_url, connection, tmp_path)
    try:
        yield bench
    finally:
        bench.close()


def gone(pid: int) -> bool:
    """Whether the process has ended. A zombie has ended."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


__all__ = ["Bench", "cancel", "gone"]
