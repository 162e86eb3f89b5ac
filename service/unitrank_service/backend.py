"""The composition root: it makes all stores and services of the routes once, from the settings."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import redis
import redis.asyncio
from anyio import CapacityLimiter
from fastapi import Request

from unitrank_service.contents.class_names import ClassNames
from unitrank_service.contents.distinct_values import DistinctValues
from unitrank_service.contents.importer import Importer
from unitrank_service.contents.statistics import Statistics
from unitrank_service.http.wait_limits import WaitLimits
from unitrank_service.jobs.drafts import DraftStores
from unitrank_service.jobs.submission import SubmissionStores
from unitrank_service.observability.metrics import Metrics
from unitrank_service.results.drawing import DrawingProcess
from unitrank_service.results.plots import PlotStores
from unitrank_service.webhooks.dispatcher import Dispatcher
from unitrank_service.webhooks.pinned_post import PinnedPoster
from unitrank_service.webhooks.url_policy import UrlPolicy
from unitrank_store.access.api_keys import ANYONE, Key, KeyStore
from unitrank_store.access.sessions import SessionStore
from unitrank_store.blobs.blob_store import BlobStore
from unitrank_store.blobs.sources import Sources
from unitrank_store.contents.datasets import DatasetStore
from unitrank_store.contents.models import ModelStore
from unitrank_store.jobs.idempotency import EarlierJobs
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.observability.throughput import Throughput
from unitrank_store.redis.connection import connect, connect_async, connect_briefly
from unitrank_store.redis.embedded import socket_url
from unitrank_store.redis.permissions import RecentPermissions
from unitrank_store.results.result_store import ResultStore
from unitrank_store.settings import Settings
from unitrank_store.webhooks.deliveries import DeliveryStore
from unitrank_store.worker_registry import WorkerRegistry

MOST_CONNECTIONS = 5000
"""Connections to the store for requests that wait for a job."""
RESULT_THREADS = 2
"""Threads that encode results. Few, because each may hold Python's lock for some milliseconds."""
METRICS_SECONDS = 1.0
"""Timeout of the metrics' own connection, so that a store that is down is reported at once."""


@dataclass(frozen=True)
class Backend:
    """The stores and services of one application; each field holds one of them.

    `connection` is used by threads. `follower` is used by coroutines, so that a request that waits
    for a job occupies no thread.
    """

    settings: Settings
    connection: redis.Redis
    follower: redis.asyncio.Redis
    blobs: BlobStore
    models: ModelStore
    datasets: DatasetStore
    jobs: JobStore
    results: ResultStore
    keys: KeyStore
    sessions: SessionStore
    workers: WorkerRegistry
    permissions: RecentPermissions
    throughput: Throughput
    distinct_values: DistinctValues
    field_statistics: Statistics
    class_names: ClassNames
    sources: Sources
    importer: Importer
    deliveries: DeliveryStore
    url_policy: UrlPolicy
    dispatcher: Dispatcher
    metrics: Metrics
    wait_limits: WaitLimits
    result_threads: CapacityLimiter
    drawing: DrawingProcess
    views: dict[str, "Backend"] = field(default_factory=dict)
    """Tenant → its backend. Only the operator's keys name tenants, so the dict stays small."""

    @property
    def earlier_jobs(self) -> EarlierJobs:
        """The jobs of this tenant that may answer a new request."""
        return EarlierJobs(self.connection, self.jobs)

    @property
    def drafts(self) -> DraftStores:
        """The stores that a draft of a job reads."""
        return DraftStores(
            connection=self.connection,
            models=self.models,
            datasets=self.datasets,
            distinct_values=self.distinct_values,
            throughput=self.throughput,
            url_policy=self.url_policy,
            max_inline_bytes=self.settings.max_inline_bytes,
            max_result_bytes=self.settings.max_result_bytes,
            max_shapley_operations=self.settings.max_shapley_operations,
        )

    @property
    def submissions(self) -> SubmissionStores:
        """The stores that a submission reads and writes."""
        return SubmissionStores(
            connection=self.connection,
            settings=self.settings,
            drafts=self.drafts,
            jobs=self.jobs,
            earlier_jobs=self.earlier_jobs,
            results=self.results,
            deliveries=self.deliveries,
            workers=self.workers,
        )

    @property
    def plots(self) -> PlotStores:
        """The stores that plots and reports read."""
        return PlotStores(
            jobs=self.jobs,
            results=self.results,
            blobs=self.blobs,
            models=self.models,
            datasets=self.datasets,
            class_names=self.class_names,
            threads=self.result_threads,
            drawing=self.drawing,
        )

    @classmethod
    def of(cls, settings: Settings, clock: Callable[[], float] = time.monotonic) -> "Backend":
        """Return the backend of the default tenant. This sends nothing to the store.

        `clock`: returns seconds.
        """
        url = settings.redis_url or socket_url(settings.state)
        connection = connect(url)
        blobs = BlobStore.of(settings)
        follower = connect_async(url)
        # Each waiting request holds one connection, and redis-py's default is at most 100.
        follower.connection_pool.max_connections = MOST_CONNECTIONS
        sources = Sources(settings.sources)
        models, datasets = ModelStore(connection, blobs), DatasetStore(connection, blobs)
        jobs = JobStore.of(connection, settings)
        keys = KeyStore(connection)
        metrics = Metrics(connect_briefly(url, METRICS_SECONDS))
        deliveries = DeliveryStore(connection, (settings.webhook_threads + 1) // 2)
        url_policy, poster = UrlPolicy(settings.webhook_hosts), PinnedPoster(settings.webhook_timeout)
        return cls(
            settings=settings,
            connection=connection,
            follower=follower,
            blobs=blobs,
            models=models,
            datasets=datasets,
            jobs=jobs,
            results=ResultStore(connection, blobs, settings),
            keys=keys,
            sessions=SessionStore(connection, keys),
            workers=WorkerRegistry(connection, settings.heartbeat_grace),
            permissions=RecentPermissions(connection, clock),
            throughput=Throughput(connection),
            distinct_values=DistinctValues(blobs),
            field_statistics=Statistics(blobs),
            class_names=ClassNames(blobs),
            sources=sources,
            importer=Importer(connection, settings, sources, blobs, models, datasets, jobs, metrics),
            deliveries=deliveries,
            url_policy=url_policy,
            dispatcher=Dispatcher(deliveries, jobs, keys, url_policy, poster, metrics, settings.webhook_attempts),
            metrics=metrics,
            wait_limits=WaitLimits(settings.key_waits),
            result_threads=CapacityLimiter(RESULT_THREADS),
            drawing=DrawingProcess(),
        )

    async def close(self) -> None:
        """Close every connection to the store, and end the process that draws."""
        self.drawing.close()
        await self.follower.aclose()
        self.connection.close()
        self.metrics.close()

    def of_tenant(self, tenant: str) -> "Backend":
        """Return a backend that sees only the models, datasets and jobs of `tenant`."""
        if tenant not in self.views:
            settings, connection = self.settings, self.connection
            self.views[tenant] = replace(
                self,
                models=ModelStore(connection, self.blobs, tenant),
                datasets=DatasetStore(connection, self.blobs, tenant),
                jobs=JobStore.of(connection, settings, tenant=tenant),
            )
        return self.views[tenant]


def backend_of(request: Request) -> Backend:
    """Return the application's backend for the tenant of the request's key."""
    backend: Backend = request.app.state.backend
    return backend.of_tenant(key_of(request).tenant)


def key_of(request: Request) -> Key:
    """Return the API key of the request, or `ANYONE` if the route does not check keys."""
    key: Key = getattr(request.state, "key", ANYONE)
    return key
