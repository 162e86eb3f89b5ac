"""`python -m unitrank_service`: starts the HTTP service alone.

The store must run already; `unitrank up` starts a store, a worker and the service together.
"""

import argparse
import os
import sys
from types import FrameType

import redis
import structlog
import uvicorn
from fastapi import FastAPI

from unitrank_schemas.loopback import is_loopback
from unitrank_service.app import create_app
from unitrank_service.http.authentication import UnprotectedAddress, check_exposure
from unitrank_service.http.slow_clients import protocol
from unitrank_service.http.wait_limits import allow_connections
from unitrank_service.webhooks.url_policy import check_trusted
from unitrank_service.writable_folders import use_writable_folders
from unitrank_store.access.api_keys import KeyStore
from unitrank_store.blobs.sources import check_drivers
from unitrank_store.errors import UnsupportedStore
from unitrank_store.observability import logs, tracing
from unitrank_store.redis.connection import connect, connect_briefly
from unitrank_store.redis.embedded import socket_url
from unitrank_store.redis.faults import report_faults
from unitrank_store.settings import BadSettings, Settings
from unitrank_store.unavailable import store_error
from unitrank_store.unknown_variables import unknown_variables

STORE_WAIT_SECONDS = 60.0
"""Seconds that the start waits for the store, which it must read if the address is public."""
CHECK_SECONDS = 5.0
"""Seconds that the start waits for the store to tell what is wrong with it."""
GRACE_SECONDS = 5
"""Seconds that open requests may take after the signal. More than `job_resource.LOOK_SECONDS`."""


def main(arguments: list[str] | None = None) -> int:
    """Serve until a signal ends the process.

    The exit code is 0 after a normal end.
    It is 2 if a setting is invalid, a public address has no keys or the store is not supported.
    It is 3 if the store does not answer or the service cannot listen.
    """
    settings = _settings(arguments)
    use_writable_folders(settings.state)
    logs.configure(settings.log_format)
    tracing.configure("service")
    log = structlog.get_logger()
    for variable in unknown_variables(os.environ):
        log.warning("unknown variable", name=variable.name, nearest=variable.nearest)
    try:
        check_drivers(settings.sources)
        check_trusted(settings.webhook_hosts)
        app = create_app(settings)
        _check_exposure(settings)
        _check_store(settings)
    except (UnsupportedStore, UnprotectedAddress, ValueError) as error:
        log.error(str(error))
        return 2
    except redis.exceptions.RedisError as error:
        log.error(f"the store {store_error(error)}", reason=str(error))
        return 3
    allow_connections()
    server = _Server(app, settings)
    server.run()
    return 0 if server.started else 3


class _Server(uvicorn.Server):
    """Sets `app.state.closing` at the first signal, so that waiting requests end early."""

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                http=protocol(settings),
                # The application reads the headers of proxies, see `http.proxies`.
                proxy_headers=False,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )
        self._app = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._app.state.closing = True
        super().handle_exit(sig, frame)


def _settings(arguments: list[str] | None) -> Settings:
    parser = argparse.ArgumentParser(
        "python -m unitrank_service", description="The HTTP service. All other settings are UNITRANK_* variables."
    )
    parser.add_argument("--host", help="address to listen on")
    parser.add_argument("--port", type=int, help="port to listen on")
    parser.add_argument("--redis-url", help="the store's address")
    parser.add_argument("--state", help="folder of the embedded store and the blobs")
    parser.add_argument("--insecure", action="store_true", default=None, help="listen on a public address without keys")
    try:
        return Settings.read(**vars(parser.parse_args(arguments)))
    except BadSettings as error:
        parser.error(str(error))


def _check_store(settings: Settings) -> None:
    """Log what is wrong with the store. A store that does not answer yet is only logged.

    Raises UnsupportedStore.
    """
    with connect_briefly(settings.redis_url or socket_url(settings.state), CHECK_SECONDS) as connection:
        try:
            report_faults(connection)
        except redis.exceptions.RedisError as error:
            structlog.get_logger().warning("store not checked", reason=f"the store {store_error(error)}")


def _check_exposure(settings: Settings) -> None:
    if is_loopback(settings.host) or settings.insecure:
        return
    with connect(settings.redis_url or socket_url(settings.state), STORE_WAIT_SECONDS) as connection:
        check_exposure(settings, KeyStore(connection).any())


if __name__ == "__main__":
    sys.exit(main())
