"""The child process: loads the engine, then runs one job after another, for as long as its parent lives."""

import argparse
import importlib
import signal
import socket
import warnings
from collections.abc import Sequence

import structlog
from rq import Worker
from rq.exceptions import NoSuchJobError
from rq.executions import Execution
from rq.serializers import JSONSerializer

from unitrank_engine.errors import EngineError
from unitrank_schemas.base import Json
from unitrank_store.blobs.blob_store import BlobStore
from unitrank_store.contents.models import ModelStore
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.observability import logs, tracing
from unitrank_store.observability.counters import Counters
from unitrank_store.observability.throughput import Throughput
from unitrank_store.queue.rq_queue import FairQueue, queue_of
from unitrank_store.queue.safe_job import TASKS, SafeJob
from unitrank_store.redis.connection import connect
from unitrank_store.redis.die_with_parent import die_with_parent
from unitrank_store.results.part_cache import PartCache
from unitrank_store.results.result_store import ResultStore
from unitrank_store.settings import Settings
from unitrank_worker.engine import Engine
from unitrank_worker.process.channel import Channel, Closed
from unitrank_worker.process.handle import device_inside
from unitrank_worker.process.memory import limit_memory, make_expendable
from unitrank_worker.process.no_alarm import NoAlarm
from unitrank_worker.tasks import DESK, Desk, inspect_model, run_job

log = structlog.get_logger()

# How long the end of a job waits for a store that is away: what was computed is worth more than any outage lasts.
COMMIT_PATIENCE = 24 * 3600.0


class Performer(Worker):
    """RQ's worker as far as it runs inside the child."""

    death_penalty_class = NoAlarm
    log_result_lifespan = False
    log_job_description = False


def serve(channel: Channel, hello: Json, engine: Engine) -> None:
    """Run what the parent sends until it sends no more."""
    settings = Settings.model_validate(hello["settings"])
    desk = open_desk(settings, hello, engine)
    DESK.set(desk)
    TASKS.set({"run_job": run_job, "inspect_model": inspect_model})
    queue = queue_of(desk.connection, hello["kind"])
    performer = Performer(
        [queue],
        name=hello["rq_name"],
        connection=desk.connection,
        job_class=SafeJob,
        serializer=JSONSerializer,
        prepare_for_work=False,
    )
    performer._is_horse = True
    channel.send({"ready": True, "models": engine.warm()})
    while not desk.spoiled:
        task = channel.receive()
        assert task is not None
        _perform(performer, queue, task)
        channel.send({"done": task["job"], "models": engine.warm(), "leaving": desk.spoiled})


def _perform(performer: Performer, queue: FairQueue, task: Json) -> None:
    """Run it; nothing where it was taken out of the store on its way here, as a job that is cancelled is."""
    try:
        job = SafeJob.fetch(task["job"], connection=queue.connection, serializer=JSONSerializer)
        performer.execution = Execution.fetch(task["execution"], job.id, connection=queue.connection)
    except (NoSuchJobError, ValueError, KeyError):
        # The last two are RQ's for an execution that is gone. Where the record still has to be run, the reaper sees to it.
        log.info("withdrawn", rq_job=task["job"])
        return
    performer.perform_job(job, queue)


def open_desk(settings: Settings, hello: Json, engine: Engine) -> Desk:
    """Everything that the tasks work with."""
    url = str(hello["url"])
    connection, hasty = connect(url, COMMIT_PATIENCE), connect(url, 0)
    kept = settings.result_ttl, settings.failure_ttl
    blobs = BlobStore.of(settings)
    # What the child before left, on a machine where no service sweeps.
    blobs.sweep()
    return Desk(
        worker=hello["name"],
        device=hello["device"],
        connection=connection,
        jobs=JobStore(connection, *kept),
        inspections=JobStore(connection, *kept, kind="inspection"),
        progress=JobStore(hasty, *kept),
        models=ModelStore(connection, blobs),
        results=ResultStore(connection, blobs, settings),
        parts=PartCache(hasty, settings),
        tallies=Counters(hasty),
        rates=Throughput(connection),
        engine=engine,
    )


def load_engine(place: str, settings: Settings, device: str) -> Engine:
    """What `module:name` names, called with the settings and the device. Only the command line says which."""
    module, _, name = place.partition(":")
    engine: Engine = getattr(importlib.import_module(module), name)(settings, device)
    return engine


def main(arguments: Sequence[str] | None = None) -> None:
    """The process's way from its start to its end."""
    parser = argparse.ArgumentParser(prog="unitrank_worker.process.child")
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--engine", required=True)
    options = parser.parse_args(arguments)
    die_with_parent(signal.SIGKILL, options.parent)
    make_expendable()
    # torch reads its own deprecated name, which nobody who reads the log can do anything about
    warnings.filterwarnings("ignore", ".*treespec, LeafSpec.*", FutureWarning)
    # Only the parent decides when a job stops, and it has a signal that cannot be missed.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    channel = Channel(socket.socket(fileno=options.fd))
    try:
        hello = channel.receive()
        assert hello is not None
        settings = Settings.model_validate(hello["settings"])
        logs.configure(settings.log_format)
        tracing.configure("worker")
        if hello["device"] == "cpu":
            limit_memory(settings.child_memory_bytes)
        serve(channel, hello, load_engine(options.engine, settings, device_inside(hello["device"])))
    except Closed:
        log.info("parent gone")
    except EngineError as error:
        # raised by no job, which `tasks` ends, but by an engine that cannot be made here
        log.error("no engine", code=error.code, detail=error.detail)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
