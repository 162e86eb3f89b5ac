"""`unitrank up`: runs the store, the service and the workers of one machine until a signal."""

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
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

Announce = Callable[[str], None]
# The seconds that one request to the service may delay the supervisor.
LOOK_SECONDS = 2.0


def up(settings: "Settings", devices: list[str], announce: Announce, gpus: Sequence[str] = ()) -> int:
    """Runs until a signal, and returns the exit status.

    The status is 0; 1 if a process did not stay alive; 2 if it cannot run with its settings.
    Raises NotPossible, and Unreachable if the store does not answer.

    Args:
        settings: the settings of the store and the service.
        devices: the device of each worker, such as `cpu` or `cuda:0`.
        announce: called with a line of text about each event.
        gpus: the GPUs that `cuda:0`, `cuda:1` … are; empty: as CUDA_VISIBLE_DEVICES says.
    """
    from unitrank_store.redis.connection import connect

    with ExitStack() as stack:
        stack.enter_context(locked(settings.state))
        port = claim_port(settings.host, settings.port)
        server = None if settings.redis_url else stack.enter_context(_embedded_server(settings, announce))
        store_url = settings.redis_url or (server.url if server else "")
        check_store(store_url, settings)
        url = url_of(settings.host, port)
        client = stack.enter_context(Client(url, timeout=LOOK_SECONDS))
        environment = _environment(settings, port, store_url) | ({"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if gpus else {})
        process_stages = stages(devices, environment, "" if server else host_prefix())
        monitor = StackMonitor(client, stack.enter_context(connect(store_url)), server, announce, url)
        names = ", ".join(command.name for stage in reversed(process_stages) for command in stage)
        announce(f"starting {names}; state folder {settings.state}")
        status = Supervisor(process_stages, announce, monitor.look).run()
        announce("stopped" if status == 0 else "stopped after a failure, which the lines above describe")
        return status


@contextmanager
def locked(state: Path) -> Iterator[None]:
    """Locks the state folder. Raises NotPossible if another process has locked it."""
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
    """Checks the store before the service and the workers are started.

    Raises Unreachable if the store does not answer. Raises NotPossible if the store is not
    supported, or if the service would listen on a public address without keys.
    """
    import redis

    from unitrank_store.access.api_keys import KeyStore
    from unitrank_store.errors import UnsupportedStore
    from unitrank_store.observability.logs import redacted
    from unitrank_store.redis.connection import connect
    from unitrank_store.redis.faults import find_faults, require_supported
    from unitrank_store.unavailable import store_error

    try:
        with connect(url) as connection:
            require_supported(find_faults(connection))
            protected = is_loopback(settings.host) or settings.insecure or KeyStore(connection).any()
    except (redis.exceptions.RedisError, ValueError) as error:
        reason = store_error(error)
        raise Unreachable(f"the store at {redacted(url)} {reason}: {redacted(str(error))}; check REDIS_URL") from error
    except UnsupportedStore as error:
        raise NotPossible(f"the store at {redacted(url)} cannot be used: {error}") from error
    if not protected:
        raise NotPossible(
            f"refusing to listen on {settings.host} without keys: anyone who reaches this address could run jobs. "
            "Create a key with `unitrank keys create NAME`, use --host 127.0.0.1, or start with --insecure"
        )


@dataclass
class StackMonitor:
    """Announces when jobs can run, and restarts the embedded server.

    Args:
        client: a client of the service.
        connection: a connection to the store.
        server: the embedded server; None: the store belongs to the user.
        announce: called with a line of text about each event.
        url: the service's address, for the messages.
        ready: whether the monitor has announced that jobs can run.
    """

    client: Client
    connection: "Redis"
    server: "EmbeddedServer | None"
    announce: Announce
    url: str
    ready: bool = False

    def look(self) -> None:
        """Checks the server and the service. Raises GivenUp if the server cannot restart."""
        if self.server is not None and not self.server.running:
            self._restart(self.server)
        if not self.ready and self._has_workers() and self.client.is_ready():
            self.ready = True
            self.announce(f"ready on {self.url} (Ctrl-C stops; running jobs are finished first)")

    def _has_workers(self) -> bool:
        """Whether each queue has a worker.

        The store is read, because each request to the service would add a line to its log.
        """
        import redis

        from unitrank_store.queue.rq_queue import QUEUES
        from unitrank_store.worker_registry import WorkerRegistry

        with suppress(redis.exceptions.RedisError):
            return {worker.queue for worker in WorkerRegistry(self.connection).list()} >= set(QUEUES.values())
        return False

    def _restart(self, server: "EmbeddedServer") -> None:
        from unitrank_store.errors import EmbeddedServerFailed

        self.announce("the embedded server has ended; it is started again")
        try:
            server.keep()
        except EmbeddedServerFailed as error:
            raise GivenUp(f"the embedded server cannot be restarted: {error}") from error


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
def _embedded_server(settings: "Settings", announce: Announce) -> Iterator["EmbeddedServer"]:
    from unitrank_store.errors import EmbeddedServerFailed
    from unitrank_store.redis.embedded import EmbeddedServer

    try:
        server = EmbeddedServer(settings.state, settings.maxmemory, announce)
        server.start()
    except EmbeddedServerFailed as error:
        raise NotPossible(str(error)) from error
    try:
        yield server
    finally:
        server.stop()


def _environment(settings: "Settings", port: int, store_url: str) -> dict[str, str]:
    """The settings that all processes must share. Each process reads the other settings itself."""
    return {
        "UNITRANK_STATE": str(settings.state.absolute()),
        "UNITRANK_REDIS_URL": store_url,
        "UNITRANK_HOST": settings.host,
        "UNITRANK_PORT": str(port),
        "UNITRANK_INSECURE": str(settings.insecure).lower(),
    }
