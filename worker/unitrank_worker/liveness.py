"""`python -m unitrank_worker.liveness`: checks that the worker with this machine's name is alive.

A container's runtime runs this command, and restarts the worker after several failures. In a
container the machine's name is the container's or the pod's: start the worker with it as `--name`.
"""

import socket
import sys

import redis
import structlog

from unitrank_store.observability.logs import configure
from unitrank_store.redis.connection import connect_briefly
from unitrank_store.redis.embedded import socket_url
from unitrank_store.settings import Settings
from unitrank_store.worker_registry import WorkerRegistry

STORE_SECONDS = 3.0
"""Seconds that the command waits for the store."""


def main() -> int:
    """Return 1 if the store answers and knows no living worker of this name, otherwise 0.

    While the store does not answer, no worker can send a heartbeat, and a restart would only end
    its job.
    """
    settings, name = Settings.read(), socket.gethostname()
    configure(settings.log_format)
    log = structlog.get_logger()
    try:
        with connect_briefly(settings.redis_url or socket_url(settings.state), STORE_SECONDS) as connection:
            entry = WorkerRegistry(connection).entry(name)
    except redis.exceptions.RedisError as error:
        log.warning("the store does not answer", worker=name, reason=str(error))
        return 0
    if entry is None:
        log.error("not alive", worker=name, error=f"no worker with the name {name} sends heartbeats; start it with --name {name}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
