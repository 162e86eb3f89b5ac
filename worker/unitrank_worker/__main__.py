"""`python -m unitrank_worker`: a worker for one queue. This process never imports torch."""

import argparse
import math
import os
import socket
import sys
import time
from collections.abc import Sequence
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import uuid4

import psutil
import redis
import structlog

from unitrank_store.blobs.blob_store import BlobStore
from unitrank_store.blobs.sources import check_drivers
from unitrank_store.contents.models import ModelStore
from unitrank_store.contents.waiting_jobs import reject_model
from unitrank_store.errors import UnsupportedStore
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.jobs.records import Kind
from unitrank_store.observability import tracing
from unitrank_store.observability.counters import Counters
from unitrank_store.observability.logs import configure
from unitrank_store.observability.throughput import Throughput
from unitrank_store.queue.rq_queue import QUEUES, queue_of
from unitrank_store.redis.connection import connect
from unitrank_store.redis.embedded import socket_url
from unitrank_store.redis.faults import report_faults
from unitrank_store.results.part_cache import PartCache
from unitrank_store.results.result_store import ResultStore
from unitrank_store.settings import BadSettings, Settings
from unitrank_store.unavailable import store_error
from unitrank_store.unknown_variables import unknown_variables
from unitrank_store.worker_registry import WorkerEntry, WorkerRegistry
from unitrank_tables.sizes import GiB
from unitrank_worker.attempts.device_memory import DeviceMemory
from unitrank_worker.attempts.stores import Stores
from unitrank_worker.child_settings import ChildSettings
from unitrank_worker.children import scratch
from unitrank_worker.children.handle import ChildHandle, NotStarted
from unitrank_worker.children.pool import ChildPool, PoolLimits
from unitrank_worker.distributed.cluster import DriverProcess
from unitrank_worker.process.heartbeat import Heartbeat
from unitrank_worker.process.job_choice import JobChoice
from unitrank_worker.process.memory import usable_bytes
from unitrank_worker.process.rq_worker import Seconds, WarmWorker
from unitrank_worker.process.settlement import Settlement
from unitrank_worker.process.watch import START_SECONDS

log = structlog.get_logger()

KINDS = {"jobs": "job", "inspections": "inspection"}
# Seconds that a command waits for a store that does not answer, before it fails.
STORE_SECONDS = 60.0
SHORTEST_SECRET = 6
# The exit status of a worker that cannot run with these options.
NOT_POSSIBLE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Work until SIGTERM or SIGINT, and return the exit status.

    A second signal ends the job at once.
    """
    options, settings = _options(arguments)
    configure(settings.log_format)
    tracing.configure("worker")
    for variable in unknown_variables(os.environ):
        log.warning("unknown variable", name=variable.name, nearest=variable.nearest)
    try:
        check_drivers(settings.sources)
        worker = build(settings, KINDS[options.queue], options.name, options.device, options.engine, options.drain)
    except ValueError as error:
        log.error("not started", worker=options.name, error=str(error))
        return NOT_POSSIBLE
    try:
        report_faults(worker.connection)
        namesake = living_namesake(WorkerRegistry(worker.connection, settings.heartbeat_grace), options.name)
        if namesake is not None:
            detail = f"process {namesake.pid} on {namesake.host} is a worker with this name; use another --name"
            log.error("not started", worker=options.name, error=detail)
            return NOT_POSSIBLE
        unconfined = worker.children.start(START_SECONDS)
    except NotStarted as error:
        log.error("not started", worker=options.name, error=str(error))
        worker.children.end()
        return 1
    except UnsupportedStore as error:
        log.error("not started", worker=options.name, error=str(error))
        return NOT_POSSIBLE
    except redis.exceptions.RedisError as error:
        log.error("not started", worker=options.name, error=f"the store {store_error(error)}", reason=str(error))
        return 1
    log.info("ready", worker=options.name, queue=options.queue, device=options.device)
    if unconfined is not None:
        log.warning("child not confined", worker=options.name, because=unconfined)
    worker.stores.memory.own = worker.children.device_memory or usable_bytes(settings.child_memory_bytes)
    worker.heartbeats.start(unconfined, worker.stores.memory.own)
    worker.work(logging_level="WARNING")
    return 0


def living_namesake(workers: WorkerRegistry, name: str) -> WorkerEntry | None:
    """The worker that is alive and has this name; None if the name is free.

    Two workers with the same name would lose each other's jobs.
    """
    entry = workers.entry(name)
    if entry is None or (entry.host == socket.gethostname() and not _alive(entry)):
        return None
    return entry


def _alive(entry: WorkerEntry) -> bool:
    """Whether the worker's process still runs on this machine.

    A later process can have the same process id, and so can this process. A later process started
    after the worker was last seen.
    """
    try:
        return entry.pid != os.getpid() and psutil.Process(entry.pid).create_time() <= entry.seen_at
    except (psutil.Error, TypeError, ValueError, OverflowError):
        return False


def build(settings: Settings, kind: str, name: str, device: str, engine: str, drain: float = math.inf) -> WarmWorker:
    """The worker with its children, stores and heartbeat; nothing is started.

    `kind`: `job` or `inspection`. `engine`: `module:name`. `drain`: seconds that a job may go on
    after a signal to stop.
    """
    url = settings.redis_url or socket_url(settings.state)
    # `quick` fails at once if the store does not answer.
    connection, quick = connect(url, STORE_SECONDS), connect(url, 0)
    stores = _stores(settings, quick, kind, device)
    # Files of killed children are removed here. On some machines no service runs to do so.
    stores.blobs.sweep()
    folders = stores.blobs.spool / "children"
    scratch.sweep(folders)
    entry = WorkerEntry(
        name,
        QUEUES[kind],
        device,
        os.getpid(),
        socket.gethostname(),
        time.time(),
        time.time(),
        distributes=kind == "job" and settings.ray is not None,
    )
    child_settings, secrets = ChildSettings.of(settings, folders), _secrets([url, *([settings.blobs] if settings.blobs else [])])
    children = ChildPool(
        lambda: ChildHandle(child_settings, engine, device, secrets=secrets),
        PoolLimits.of(settings, kind, device),
        stores.counters.child_ended,
    )
    models, waiting = ModelStore(connection, stores.blobs), JobStore.of(connection, settings)
    queue, registry = queue_of(connection, kind), WorkerRegistry(quick, settings.heartbeat_grace)
    if kind == "job":
        queue.chooser = JobChoice(queue, stores, registry, children.has_warm)
    return WarmWorker(
        queue,
        name=name,
        rq_name=f"{name}.{uuid4().hex[:12]}",
        stores=stores,
        children=children,
        heartbeats=Heartbeat(registry, entry, settings.heartbeat, children.load),
        settlement=Settlement(connection, lambda digest, problem: reject_model(waiting, models, digest, problem)),
        seconds=Seconds(settings.heartbeat, settings.heartbeat_grace),
        counters=stores.counters,
        driver=_driver(settings, engine, device, _secrets([url])) if kind == "job" else None,
        drain=drain,
    )


def _driver(settings: Settings, engine: str, device: str, secrets: Sequence[str]) -> DriverProcess | None:
    """The process that divides jobs between the nodes of a Ray cluster; None without one."""
    if settings.ray is None:
        return None
    return DriverProcess(
        settings.ray, engine, device, result_bytes=settings.max_result_bytes, log_format=settings.log_format, secrets=secrets
    )


def _stores(settings: Settings, connection: redis.Redis, kind: str, device: str) -> Stores:
    blobs = BlobStore.of(settings)
    record_kind: Kind = "inspection" if kind == "inspection" else "job"
    return Stores(
        device=device,
        connection=connection,
        jobs=JobStore.of(connection, settings, kind=record_kind),
        waiting=JobStore.of(connection, settings),
        blobs=blobs,
        models=ModelStore(connection, blobs),
        results=ResultStore(connection, blobs, settings),
        parts=PartCache(connection, settings),
        throughput=Throughput(connection),
        counters=Counters(connection),
        memory=DeviceMemory(WorkerRegistry(connection, settings.heartbeat_grace), QUEUES[kind]),
        # Weights of 16 bits are stored with 32 bits. The GiB is for the program.
        distribute_seconds=settings.distribute_seconds if settings.ray else None,
        most_archive_bytes=2 * settings.max_model_bytes + GiB,
    )


def _secrets(addresses: Sequence[str]) -> list[str]:
    """The addresses and their passwords, which the environment of another process must not have."""
    passwords = [password for address in addresses for password in _passwords(address)]
    # A shorter password can be part of other values: the child would lose variables such as PATH.
    return [*addresses, *(password for password in passwords if len(password) >= SHORTEST_SECRET)]


def _passwords(address: str) -> list[str]:
    """The passwords in an address, as they are written there and without percent signs."""
    parts = urlsplit(address)
    options = parse_qs(parts.query)
    return [parts.password or "", unquote(parts.password or ""), *options.get("password", []), *options.get("ssl_password", [])]


def _options(arguments: Sequence[str] | None) -> tuple[argparse.Namespace, Settings]:
    parser = argparse.ArgumentParser(prog="python -m unitrank_worker", description="Run jobs from one queue.")
    parser.add_argument("--queue", choices=sorted(KINDS), default="jobs", help="queue to work on (default: jobs)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda:N (default: cpu)")
    # In containers every process can have the same id, hence the random digits.
    name = f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:6]}"
    parser.add_argument("--name", default=name, help="unique name of the worker in the API (default: host, pid, digits)")
    parser.add_argument(
        "--drain",
        type=float,
        default=math.inf,
        help="seconds that a job may go on after SIGTERM before it returns to the queue (default: no limit)",
    )
    parser.add_argument("--engine", default="unitrank_worker.engine:TorchEngine", help=argparse.SUPPRESS)
    try:
        return parser.parse_args(arguments), Settings.read()
    except BadSettings as error:
        parser.error(str(error))


if __name__ == "__main__":
    sys.exit(main())
