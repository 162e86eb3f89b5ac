"""What Prometheus is told: what this process counts, and what the store knows of all processes, asked at each look.

Labels are routes, methods and states, of which there are few: never a name, an id or a path that a client chose.
"""

from collections.abc import Iterable, Iterator
from typing import Literal

import redis
import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

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
    """`store` is a client that does not wait: a look at a store that is away is over soon."""

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
            "Seconds until an answer began; those that a client asked to wait for are in it.",
            ["method", "route"],
            buckets=LATENCIES,
            registry=self._all,
        )
        self._uploads = Counter("unitrank_uploaded_bytes", "Bytes of bodies that came in whole.", ["kind"], registry=self._all)
        self._imports = Counter(
            "unitrank_imports", "Readings of contents from elsewhere that ended.", ["kind", "outcome"], registry=self._all
        )
        self._reuses = Counter("unitrank_jobs_reused", "Jobs answered with an earlier one.", ["reason"], registry=self._all)
        self._webhooks = Counter("unitrank_webhooks", "Attempts to deliver a webhook.", ["outcome"], registry=self._all)

    def answered(self, method: str, route: str | None, status: int, seconds: float) -> None:
        """A request was answered; `route` is the template, None where there is none."""
        method, route = method if method in METHODS else "other", route or NO_ROUTE
        self._requests.labels(method, route, str(status)).inc()
        self._latency.labels(method, route).observe(seconds)

    def uploaded(self, kind: str, size: int) -> None:
        """The bytes of a model or a dataset came in."""
        self._uploads.labels(kind).inc(size)

    def imported(self, kind: str, outcome: ImportOutcome) -> None:
        """A reading from elsewhere ended."""
        self._imports.labels(kind, outcome).inc()

    def reused(self, reason: ReuseReason) -> None:
        """A POST was answered with an earlier job."""
        self._reuses.labels(reason).inc()

    def webhook(self, outcome: WebhookOutcome) -> None:
        """An attempt to deliver a webhook ended; `repeated`: there will be another one."""
        self._webhooks.labels(outcome).inc()

    def store_answers(self) -> bool:
        """Whether the store is there."""
        try:
            self._store.ping()
        except redis.exceptions.RedisError:
            return False
        return True

    def close(self) -> None:
        """Give the connection back."""
        self._store.close()

    def page(self) -> bytes:
        """Everything, as text."""
        return generate_latest(self._all)

    def page_without_store(self) -> bytes:
        """What anyone may know, for nobody's key can be looked at: that the store is away, and how this process is."""
        return b"".join([generate_latest(_FixedCollector([_up(0)])), generate_latest(self._process)])


class StoreCollector(Collector):
    """What all processes together have and do; every service says the same."""

    def __init__(self, store: redis.Redis) -> None:
        self._store = store

    def describe(self) -> Iterable[Metric]:
        """Nothing: otherwise the registry would ask the store while it is made."""
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
    kept = GaugeMetricFamily("unitrank_jobs", "Jobs and inspections that are kept, by status.", labels=["kind", "status"])
    for kind, by_status in snapshot.records.items():
        for status, count in by_status.items():
            kept.add_metric([kind, status], count)
    yield kept
    entered = CounterMetricFamily(
        "unitrank_transitions", "How often a job or an inspection came into a status.", labels=["kind", "status"]
    )
    for kind, counts in snapshot.entered.items():
        for status, count in counts.items():
            entered.add_metric([kind, status], count)
    yield entered
    lost = CounterMetricFamily("unitrank_attempts_lost", "Attempts given up: their process was lost.", labels=["kind"])
    for kind in snapshot.records:
        lost.add_metric([kind], snapshot.counted.lost.get(kind, 0))
    yield lost


def _queues(snapshot: Snapshot) -> Iterator[Metric]:
    length = GaugeMetricFamily("unitrank_queue_length", "How many wait for their turn, or for what they need.", labels=["kind"])
    oldest = GaugeMetricFamily("unitrank_queue_oldest_seconds", "How long the oldest has waited; 0: none waits.", labels=["kind"])
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
    ended = CounterMetricFamily("unitrank_children_ended", "Processes of workers that were replaced.", labels=["reason"])
    for reason, count in snapshot.counted.child_ended.items():
        ended.add_metric([reason], count)
    yield ended
    run = HistogramMetricFamily("unitrank_ranking_seconds", "Seconds that a ranking took, with its ablation.", labels=["method"])
    for method, durations in snapshot.counted.run.items():
        run.add_metric([method], _cumulated(durations), durations.seconds)
    yield run


def _cumulated(durations: Durations) -> list[tuple[str, float]]:
    ends = [*map(str, BUCKETS), "+Inf"]
    return [(end, float(sum(durations.counts[: index + 1]))) for index, end in enumerate(ends)]
