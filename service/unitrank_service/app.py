"""The application: routes, the net for errors, and what goes on in the background as long as it lives."""

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

DESCRIPTION = "Which units of a network matter for this group of inputs, and is that answer any good?"

# What goes on in the background has so long to come to an end.
LAST_SECONDS = 5.0

# A span for each request, where `unitrank_store.observability.tracing` is configured; bodies and errors are left out.
TELEMETRY: TelemetryConfig = {
    "auto_configure": False,
    "logs": False,
    "metrics": False,
    "operation_spans": False,
    "exclude": lambda scope: scope["path"] in ("/healthz", "/readyz", "/metrics"),
}


def create_app(settings: Settings) -> FastAPI:
    """The application with these settings; nothing is sent to the store before it starts."""
    # The pages that show the API load their scripts from elsewhere; /openapi.json is here.
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
    readers, dispatchers = backend.settings.imports, backend.settings.webhook_threads
    background = [reaper.run, *[backend.importer.run] * readers, *[backend.dispatcher.run] * dispatchers]
    threads = [threading.Thread(target=run, args=[stop], name=run.__qualname__, daemon=True) for run in background]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        backend.importer.wake()
        backend.dispatcher.wake()
        last = time.monotonic() + LAST_SECONDS
        for thread in threads:
            thread.join(max(0.0, last - time.monotonic()))
        await backend.close()
