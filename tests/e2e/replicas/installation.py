"""Services and workers as processes on one store, and a client that uses the services in turn."""

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import redis
from benchmarks.support.in_turn import InTurn

from tests.support.polling import wait_until
from unitrank.addresses import claim_port
from unitrank_store.blobs.blob_store import BlobStore
from unitrank_store.redis.die_with_parent import dying_with_parent
from unitrank_store.settings import Settings

ROOT = Path(__file__).parents[3]
QUICK = {
    "UNITRANK_HEARTBEAT": "0.5",
    "UNITRANK_HEARTBEAT_GRACE": "2",
    "UNITRANK_REAPER_INTERVAL": "0.5",
    "UNITRANK_CONFINEMENT": "off",
    "OMP_NUM_THREADS": "1",
}
"""Losses are noticed within seconds. The scripted engines of the tests are not confined."""


@dataclass(frozen=True)
class Process:
    """A running process of an installation. `url`: that of a service; empty for a worker."""

    running: subprocess.Popen[bytes]
    url: str = ""

    def kill(self) -> None:
        """Kill the process as `kill -9` does, and wait for its end."""
        self.running.kill()
        self.running.wait()

    def stop(self) -> int:
        """Send SIGTERM, and return the exit code."""
        self.running.send_signal(signal.SIGTERM)
        return self.running.wait(60)

    def talks_to(self, port: int) -> bool:
        """Whether the process has a connection to a port of this machine."""
        connections = psutil.Process(self.running.pid).net_connections("tcp")
        return any(connection.raddr and connection.raddr.port == port for connection in connections)


@dataclass
class Installation:
    """Processes on one store. `python`: the interpreter of new processes."""

    store: str
    state: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    services: list[Process] = field(default_factory=list)
    workers: list[Process] = field(default_factory=list)
    _numbers: Callable[[], int] = field(default_factory=lambda: itertools.count().__next__)

    @property
    def blobs(self) -> BlobStore:
        return BlobStore.of(Settings(state=self.state))

    def start_service(self, python: str = sys.executable) -> Process:
        """Start a service on a free port; it is ready when `await_ready` returns."""
        port = claim_port("127.0.0.1", 0)
        service = Process(self._start(python, "unitrank_service", "--port", str(port)), f"http://127.0.0.1:{port}")
        self.services.append(service)
        return service

    def start_worker(self, queue: str = "jobs", engine: str | None = None, python: str = sys.executable) -> Process:
        """Start a worker. `engine`: name of an engine in `tests.worker.scripted_engine`."""
        words = ["--engine", f"tests.worker.scripted_engine:{engine}"] if engine else []
        name = f"{queue}-{self._numbers()}"
        worker = Process(self._start(python, "unitrank_worker", "--queue", queue, "--name", name, *words))
        self.workers.append(worker)
        return worker

    def await_ready(self, *services: Process) -> None:
        """Wait until the services answer, by default all of them."""
        for service in services or self.services:
            wait_until(lambda url=service.url: answers(url), f"{service.url} is ready")

    def remove(self, process: Process) -> None:
        """Forget a process that has ended."""
        for processes in (self.services, self.workers):
            if process in processes:
                processes.remove(process)

    def end(self) -> None:
        """Kill all processes."""
        for process in [*self.services, *self.workers]:
            process.kill()

    def urls(self) -> list[str]:
        """The addresses of all services."""
        return [service.url for service in self.services]

    def client(self, **options: object) -> httpx.Client:
        """A client whose requests go to all services in turn."""
        return httpx.Client(base_url="http://127.0.0.1", transport=InTurn(self.urls), timeout=30, **options)  # type: ignore[arg-type]

    def _start(self, python: str, module: str, *words: str) -> subprocess.Popen[bytes]:
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {name: value for name, value in os.environ.items() if not name.startswith("UNITRANK_")}
        environment |= {"UNITRANK_REDIS_URL": self.store, "UNITRANK_STATE": str(self.state), **QUICK, **self.settings}
        if python == sys.executable:
            environment["PYTHONPATH"] = path
        else:
            del environment["PYTHONPATH"]
        command = dying_with_parent([python, "-m", module, *words], signal.SIGKILL)
        with (self.state / "log").open("ab") as log:
            return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def sent_by(services: Sequence[Process], port: int) -> Process:
    """The service that has a connection to this port, as soon as there is one."""
    return wait_until(
        lambda: next((service for service in services if service.talks_to(port)), None), f"a service is connected to port {port}"
    )


def answers(url: str) -> bool:
    """Whether a service answers at this address."""
    try:
        return httpx.get(f"{url}/healthz", timeout=5).is_success
    except httpx.TransportError:
        return False


def expire(connection: redis.Redis, key: str) -> None:
    """End a lease now, as if its time were over."""
    assert connection.pexpire(key, 1), f"{key} does not exist"
