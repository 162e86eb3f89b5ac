"""Makes the application: routes, handlers of errors, and the background threads of its lifetime."""

import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig

from unitrank_service import problems
from unitrank_service.backend import Backend
from unitrank_service.http.authentication import allowed_hosts
from unitrank_service.http.cors import Cors
from unitrank_service.http.middleware import HeadMiddleware, RequestMiddleware
from unitrank_service.http.proxies import ProxyMiddleware, check_prefix
from unitrank_service.openapi import document
from unitrank_service.routes import FIRST_PARTS, ROUTERS
from unitrank_service.version import VERSION
from unitrank_store.recovery.reaper import Reaper
from unitrank_store.settings import Settings

DESCRIPTION = "Which units of a network matter for this group of inputs, and can you trust the answer?"

JOIN_SECONDS = 5.0
"""Seconds that all background threads together may take to end."""


def create_app(settings: Settings, clock: Callable[[], float] = time.monotonic) -> FastAPI:
    """Return the application, which sends nothing to the store before it starts.

    `clock`: returns seconds.
    Raises ValueError if `root_path` begins with a path of the service.
    """
    # FastAPI's own pages /docs and /redoc are switched off, because they load scripts from other
    # sites. `routes.documentation` serves /docs.
    app = FastAPI(
        title="Unitrank",
        version=VERSION,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
        separate_input_output_schemas=False,
        generate_unique_id_function=lambda route: route.name,
        telemetry=_telemetry(settings.root_path),
    )
    app.state.settings = settings
    app.state.closing = False
    app.state.backend = Backend.of(settings, clock)
    app.state.routers = ROUTERS
    for router in ROUTERS:
        app.include_router(router)
    problems.install(app)
    document.install(app)
    _add_middleware(app, settings)
    return app


def _telemetry(root_path: str) -> TelemetryConfig:
    """Each request is a span if `unitrank_store.observability.tracing` is configured.

    Spans hold no bodies and no error messages.
    """
    watched = ("/healthz", "/readyz", "/metrics")
    return {
        "auto_configure": False,
        "logs": False,
        "metrics": False,
        "operation_spans": False,
        "exclude": lambda scope: scope["path"].removeprefix(root_path) in watched,
    }


def _add_middleware(app: FastAPI, settings: Settings) -> None:
    """Add the middleware, the innermost first."""
    hosts = allowed_hosts(settings)
    app.add_middleware(HeadMiddleware)
    app.add_middleware(
        ProxyMiddleware,
        trusted=settings.trusted_proxies,
        root_path=check_prefix(settings.root_path, FIRST_PARTS),
        reserved=FIRST_PARTS,
        hosts=hosts,
    )
    cors = partial(Cors, origins=settings.cors_origins) if settings.cors_origins else None
    app.add_middleware(RequestMiddleware, metrics=app.state.backend.metrics, hosts=hosts, cors=cors)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    backend: Backend = app.state.backend
    stop = threading.Event()
    reaper = Reaper(backend.connection, backend.settings)
    importers, dispatchers = backend.settings.imports, backend.settings.webhook_threads
    background = [reaper.run, *[backend.importer.run] * importers, *[backend.dispatcher.run] * dispatchers]
    threads = [threading.Thread(target=run, args=[stop], name=run.__qualname__, daemon=True) for run in background]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        backend.importer.wake()
        backend.dispatcher.wake()
        deadline = time.monotonic() + JOIN_SECONDS
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        await backend.close()
