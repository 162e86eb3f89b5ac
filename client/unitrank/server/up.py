"""`unitrank up`: the store, the service and the workers of one machine, for as long as the command runs."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unitrank.addresses import claim_port, url_of
from unitrank.client.sync import Client
from unitrank.errors import NotPossible, Unreachable
from unitrank.server.processes import host_prefix, stages
from unitrank.server.supervisor import GivenUp, Supervisor
from unitrank_schemas.loopback import is_loopback

if TYPE_CHECKING:
    from redis import Redis

    from unitrank_store.redis.embedded import EmbeddedServer
    from unitrank_store.settings import Settings

Say = Callable[[str], None]
# How long one look at the service may hold up the supervisor.
LOOK_SECONDS = 2.0


def up(settings: "Settings", devices: list[str], say: Say) -> int:
    """Run until a signal: 0, 1 where something did not stay alive, 2 where it cannot run. Raises NotPossible, Unreachable."""
    from unitrank_store.redis.connection import connect

    with ExitStack() as stack:
        stack.enter_context(held(settings.state))
        port = claim_port(settings.host, settings.port)
        server = None if settings.redis_url else stack.enter_context(_served(settings))
        store_url = settings.redis_url or (server.url if server else "")
        check_store(store_url, settings)
        url = url_of(settings.host, port)
        client = stack.enter_context(Client(url, timeout=LOOK_SECONDS))
        plan = stages(devices, _environment(settings, port, store_url), "" if server else host_prefix())
        monitor = StackMonitor(client, stack.enter_context(connect(store_url)), server, say, url)
        say(f"starting {', '.join(command.name for stage in reversed(plan) for command in stage)}; state in {settings.state}")
        status = Supervisor(plan, say, monitor.look).run()
        say("stopped" if status == 0 else "stopped after a failure; the lines above say which")
        return status


@contextmanager
def held(state: Path) -> Iterator[None]:
    """Hold the state folder for this process alone. Raises NotPossible."""
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(state / "up.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise NotPossible(f"the state folder {state} cannot be written: {error.strerror}; choose another with --state") from error
    try:
        _lock(descriptor, state)
        yield
    finally:
        os.close(descriptor)


def check_store(url: str, settings: "Settings") -> None:
    """Raises Unreachable where the store does not answer, NotPossible where anyone could reach a service without keys."""
    import redis

    from unitrank_store.access.api_keys import KeyStore
    from unitrank_store.observability.logs import redacted
    from unitrank_store.redis.connection import connect

    try:
        with connect(url) as connection:
            connection.ping()
            protected = is_loopback(settings.host) or settings.insecure or KeyStore(connection).any()
    except (redis.exceptions.RedisError, ValueError) as error:
        raise Unreachable(f"the store at {redacted(url)} does not answer: {redacted(str(error))}") from error
    if not protected:
        raise NotPossible(
            f"refusing to listen on {settings.host} without keys: anyone there could run jobs. "
            "Create one with `unitrank keys create NAME`, listen on 127.0.0.1, or insist with --insecure"
        )


@dataclass
class StackMonitor:
    """Says when jobs can be run, and brings the embedded server back."""

    client: Client
    connection: "Redis"
    server: "EmbeddedServer | None"
    say: Say
    url: str
    ready: bool = False

    def look(self) -> None:
        """Raises GivenUp where the server does not come back."""
        if self.server is not None and not self.server.running:
            self._revive(self.server)
        if not self.ready and self._manned() and self.client.is_ready():
            self.ready = True
            self.say(f"ready on {self.url} (Ctrl-C stops; running jobs are finished first)")

    def _manned(self) -> bool:
        """Whether there is a worker for each queue; asked of the store, so that the service's log stays quiet."""
        import redis

        from unitrank_store.queue.rq_queue import QUEUES
        from unitrank_store.worker_registry import WorkerRegistry

        with suppress(redis.exceptions.RedisError):
            return {worker.queue for worker in WorkerRegistry(self.connection).list()} >= set(QUEUES.values())
        return False

    def _revive(self, server: "EmbeddedServer") -> None:
        from unitrank_store.errors import EmbeddedServerFailed

        self.say("the embedded server ended; it is started again")
        try:
            server.keep()
        except EmbeddedServerFailed as error:
            raise GivenUp(f"the embedded server does not come back: {error}") from error


def _lock(descriptor: int, state: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
        raise NotPossible(
            f"the state folder {state} is in use by another `unitrank up` (process {holder}); "
            "stop that one, or choose another folder with --state"
        ) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


@contextmanager
def _served(settings: "Settings") -> Iterator["EmbeddedServer"]:
    from unitrank_store.errors import EmbeddedServerFailed
    from unitrank_store.redis.embedded import EmbeddedServer

    try:
        server = EmbeddedServer(settings.state, settings.maxmemory)
        server.start()
    except EmbeddedServerFailed as error:
        raise NotPossible(str(error)) from error
    try:
        yield server
    finally:
        server.stop()


def _environment(settings: "Settings", port: int, store_url: str) -> dict[str, str]:
    """What the processes are told; every other setting they read themselves."""
    return {
        "UNITRANK_STATE": str(settings.state.absolute()),
        "UNITRANK_REDIS_URL": store_url,
        "UNITRANK_HOST": settings.host,
        "UNITRANK_PORT": str(port),
        "UNITRANK_INSECURE": str(settings.insecure).lower(),
    }
