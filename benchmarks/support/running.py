"""A complete service with its own state folder on a free port, while a benchmark runs."""

import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import psutil

from unitrank.addresses import claim_port, url_of
from unitrank.client.sync import Client
from unitrank_store.redis.embedded import EmbeddedServer
from unitrank_store.settings import Settings

START_SECONDS = 60.0


@contextmanager
def running(settings: Mapping[str, str] = MappingProxyType({})) -> Iterator[str]:
    """The URL of a ready service with one worker. At exit all processes of the service end.

    `settings`: environment variables of the service. By default it has a state folder of its own.
    """
    with tempfile.TemporaryDirectory(prefix="unitrank-bench-") as folder:
        port = claim_port("127.0.0.1", 0)
        command = [sys.executable, "-m", "unitrank", "up", "--port", str(port)]
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("UNITRANK_") and name != "REDIS_URL"
        }
        environment |= {"UNITRANK_STATE": folder, **settings}
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_until_ready(url, process)
            yield url
        finally:
            process.terminate()
            process.wait(60)


@contextmanager
def running_without_workers() -> Iterator[tuple[Settings, psutil.Process]]:
    """The settings and the process of a service that answers, with a store and a state folder."""
    with tempfile.TemporaryDirectory(prefix="unitrank-bench-") as folder, EmbeddedServer(Path(folder)) as server:
        settings = Settings(redis_url=server.url, state=Path(folder), port=claim_port("127.0.0.1", 0))
        command = [sys.executable, "-m", "unitrank_service", "--port", str(settings.port), "--state", folder]
        environment = {**os.environ, "UNITRANK_REDIS_URL": server.url}
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        try:
            _wait_until_alive(url_of(settings.host, settings.port))
            yield settings, psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait(60)


def _wait_until_alive(url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            urllib.request.urlopen(f"{url}/healthz", timeout=5).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    with Client(url) as client:
        while not client.is_ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(
                    f"unitrank up was not ready within {START_SECONDS:.0f} s (exit code {process.poll()}); run it to see its log"
                )
            time.sleep(0.1)
