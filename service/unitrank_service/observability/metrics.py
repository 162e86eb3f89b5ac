"""Metrics for Prometheus: counters of this process, and a snapshot of the store at each scrape.

Labels have few values: routes, methods and states. A name, id or path that a client chose is
never a label.
"""

from collections.abc import Iterable, Iterator
from typing import Literal

import redis
import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from unitrank_store.jobs.record import LIVE
from unitrank_store.observability.counters import BUCKETS, Durations
from unitrank_store.observability.snapshot import Snapshot, take_snapshot
from unitrank_store.queue.rq_queue import QUEUES

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
NO_ROUTE = "none"
LATENCIES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

ImportOutcome = Literal["imported", "rejected", "dropped", "left"]
ReuseReason = Literal["idempotency_key", "equal"]
WebhookOutcome = Literal["delivered", "repeated", "failed"]


class Metrics:
    """The metrics of this process and of the store.

    `store`: a connection with a short timeout, so that a scrape ends soon while the store is down.
    """

    def __init__(self, store: redis.Redis) -> None:
        self._store = store
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)
        PlatformCollector(registry=self._process)
        self._all = CollectorRegistry()
        self._all.register(self._process)
        self._all.register(StoreCollector(store))
        self._requests = Counter("unitrank_http_requests", "Requests answered.", ["method", "route", "status"], registry=self._all)
        self._latency = Histogram(
            "unitrank_http_request_seconds",
            "Seconds until the answer began, with the time that a client chose to wait for a job.",
            ["method", "route"],
            buckets=LATENCIES,
            registry=self._all,
        )
        self._uploads = Counter("unitrank_uploaded_bytes", "Bytes of complete uploads.", ["kind"], registry=self._all)
        self._imports = Counter("unitrank_imports", "Imports from a URI that ended.", ["kind", "outcome"], registry=self._all)
        self._reuses = Counter("unitrank_jobs_reused", "Requests answered with an earlier job.", ["reason"], registry=self._all)
        self._webhooks = Counter("unitrank_webhooks", "Attempts to deliver a webhook.", ["outcome"], registry=self._all)

    def answered(self, method: str, route: str | None, status: int, seconds: float) -> None:
        """Count an answered request.

        `route`: path of the route with the names of its parameters; None if no route matches.
        `seconds`: time until the answer began.
        """
        method, route = method if method in METHODS else "other", route or NO_ROUTE
        self._requests.labels(method, route, str(status)).inc()
        self._latency.labels(method, route).observe(seconds)

    def uploaded(self, kind: str, size: int) -> None:
        """Count a complete upload. `kind`: `model` or `dataset`; `size`: bytes."""
        self._uploads.labels(kind).inc(size)

    def imported(self, kind: str, outcome: ImportOutcome) -> None:
        """Count an import from a URI that ended. `kind`: `model` or `dataset`."""
        self._imports.labels(kind, outcome).inc()

    def reused(self, reason: ReuseReason) -> None:
        """Count a request that an earlier job answers."""
        self._reuses.labels(reason).inc()

    def webhook(self, outcome: WebhookOutcome) -> None:
        """Count an attempt to deliver a webhook.

        `repeated`: the attempt failed, and another attempt follows.
        """
        self._webhooks.labels(outcome).inc()

    def store_answers(self) -> bool:
        """Whether the store answers a PING."""
        try:
            self._store.ping()
        except redis.exceptions.RedisError:
            return False
        return True

    def close(self) -> None:
        """Close the connection to the store."""
        self._store.close()

    def page(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._all)

    def page_without_store(self) -> bytes:
        """Return only `unitrank_store_up 0` and the metrics of this process.

        Without the store no key can be checked, so the page contains nothing confidential.
        """
        return b"".join([generate_latest(_FixedCollector([_up(0)])), generate_latest(self._process)])


class StoreCollector(Collector):
    """The metrics of the store, which are the same in every service of the store."""

    def __init__(self, store: redis.Redis) -> None:
        self._store = store

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering the collector does not read the store."""
        return []

    def collect(self) -> Iterator[Metric]:
        try:
            snapshot = take_snapshot(self._store)
        except redis.exceptions.RedisError as error:
            structlog.get_logger().warning("metrics without the store", reason=str(error))
            yield _up(0)
            return
        yield _up(1)
        yield from _records(snapshot)
        yield from _queues(snapshot)
        yield from _work(snapshot)


class _FixedCollector(Collector):
    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _up(value: int) -> Metric:
    return GaugeMetricFamily("unitrank_store_up", "Whether the store answers.", value)


def _records(snapshot: Snapshot) -> Iterator[Metric]:
    stored = GaugeMetricFamily("unitrank_jobs", "Stored jobs and inspections, by status.", labels=["kind", "status"])
    for kind, by_status in snapshot.records.items():
        for status, count in by_status.items():
            stored.add_metric([kind, status], count)
    yield stored
    entered = CounterMetricFamily(
        "unitrank_transitions", "Transitions of jobs and inspections into a status.", labels=["kind", "status"]
    )
    for kind, counts in snapshot.entered.items():
        for status, count in counts.items():
            entered.add_metric([kind, status], count)
    yield entered
    unfinished = GaugeMetricFamily("unitrank_jobs_unfinished", "Jobs and inspections that have not ended.", labels=["kind"])
    for kind, by_status in snapshot.records.items():
        unfinished.add_metric([kind], sum(by_status[status] for status in LIVE))
    yield unfinished
    lost = CounterMetricFamily("unitrank_attempts_lost", "Attempts that ended because their process was lost.", labels=["kind"])
    for kind in snapshot.records:
        lost.add_metric([kind], snapshot.counted.lost.get(kind, 0))
    yield lost


def _queues(snapshot: Snapshot) -> Iterator[Metric]:
    length = GaugeMetricFamily("unitrank_queue_length", "Jobs and inspections that wait.", labels=["kind"])
    oldest = GaugeMetricFamily(
        "unitrank_queue_oldest_seconds", "Seconds that the oldest waiting one has waited; 0 if none waits.", labels=["kind"]
    )
    for kind, seconds in snapshot.waited.items():
        length.add_metric([kind], snapshot.records[kind]["queued"])
        oldest.add_metric([kind], seconds)
    yield length
    yield oldest
    yield GaugeMetricFamily("unitrank_stored_bytes", "Bytes of models, datasets and large results.", snapshot.stored_bytes)


def _work(snapshot: Snapshot) -> Iterator[Metric]:
    workers = GaugeMetricFamily("unitrank_workers", "Workers that are alive.", labels=["kind", "state"])
    for kind, queue in QUEUES.items():
        jobs = [worker.job for worker in snapshot.workers if worker.queue == queue]
        workers.add_metric([kind, "busy"], len(jobs) - jobs.count(None))
        workers.add_metric([kind, "idle"], jobs.count(None))
    yield workers
    children = GaugeMetricFamily("unitrank_children", "Child processes of workers, with spares.", labels=["kind"])
    resident = GaugeMetricFamily("unitrank_children_bytes", "Resident bytes of these processes.", labels=["kind"])
    for kind, queue in QUEUES.items():
        alive = [worker for worker in snapshot.workers if worker.queue == queue]
        children.add_metric([kind], sum(worker.children for worker in alive))
        resident.add_metric([kind], sum(worker.memory for worker in alive))
    yield children
    yield resident
    ended = CounterMetricFamily("unitrank_children_ended", "Child processes of workers that ended.", labels=["reason"])
    for reason, count in snapshot.counted.child_ended.items():
        ended.add_metric([reason], count)
    yield ended
    run = HistogramMetricFamily("unitrank_ranking_seconds", "Seconds of one ranking with its ablation test.", labels=["method"])
    for method, durations in snapshot.counted.run.items():
        run.add_metric([method], _cumulated(durations), durations.seconds)
    yield run


def _cumulated(durations: Durations) -> list[tuple[str, float]]:
    """The upper end of each bucket in seconds, and the number of durations up to it."""
    ends = [*map(str, BUCKETS), "+Inf"]
    return [(end, float(sum(durations.counts[: index + 1]))) for index, end in enumerate(ends)]
