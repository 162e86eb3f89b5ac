"""Makes the application: routes, handlers of errors, and the background threads of its lifetime."""

import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig

from unitrank_service import problems
from unitrank_service.backend import Backend
from unitrank_service.http.authentication import allowed_hosts
from unitrank_service.http.middleware import RequestMiddleware
from unitrank_service.openapi import document
from unitrank_service.routes import ROUTERS
from unitrank_service.version import VERSION
from unitrank_store.recovery.reaper import Reaper
from unitrank_store.settings import Settings

DESCRIPTION = "Which units of a network matter for this group of inputs, and can you trust the answer?"

JOIN_SECONDS = 5.0
"""Seconds that all background threads together may take to end."""

# Each request is a span if `unitrank_store.observability.tracing` is configured.
# Spans hold no bodies and no error messages.
TELEMETRY: TelemetryConfig = {
    "auto_configure": False,
    "logs": False,
    "metrics": False,
    "operation_spans": False,
    "exclude": lambda scope: scope["path"] in ("/healthz", "/readyz", "/metrics"),
}


def create_app(settings: Settings) -> FastAPI:
    """Return the application, which sends nothing to the store before it starts."""
    # FastAPI's own pages /docs and /redoc are switched off, because they load scripts from other
    # sites. /openapi.json is served.
    app = FastAPI(
        title="Unitrank",
        version=VERSION,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
        separate_input_output_schemas=False,
        telemetry=TELEMETRY,
    )
    app.state.settings = settings
    app.state.closing = False
    app.state.backend = Backend.of(settings)
    app.state.routers = ROUTERS
    for router in ROUTERS:
        app.include_router(router)
    problems.install(app)
    document.install(app)
    app.add_middleware(RequestMiddleware, metrics=app.state.backend.metrics, hosts=allowed_hosts(settings))
    return app


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
