"""Redis or Valkey servers with flags of a test, such as TLS, cluster mode or a master."""

import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from tests.support.polling import wait_until
from unitrank_store.redis import embedded
from unitrank_store.redis.die_with_parent import dying_with_parent

HEALTHY = ("--appendonly", "yes", "--maxmemory-policy", "noeviction")
"""Flags of a server without faults."""


@contextmanager
def redis_server(folder: Path, *flags: str, program: Path | None = None) -> Iterator[str]:
    """Run a server on a socket in the folder, and yield its address.

    `flags`: more flags of the server; a first flag without dashes is a configuration file.
    `program`: the server's program; None: the one that the other tests use.
    """
    folder.mkdir(exist_ok=True)
    socket = folder / "s"
    file = [flags[0]] if flags and not flags[0].startswith("-") else []
    words = [str(program or embedded.find_server()), *file, "--port", "0", "--unixsocket", str(socket), "--dir", str(folder)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            dying_with_parent([*words, "--save", "", *flags[len(file) :]], signal.SIGKILL), stdout=log, stderr=log
        )
    try:
        with redis.Redis.from_url(f"unix://{socket}") as client:
            wait_until(lambda: process.poll() is not None or answers(client), "the server answers")
        assert process.poll() is None, (folder / "log").read_text()
        yield f"unix://{socket}"
    finally:
        process.kill()
        process.wait()


def answers(client: redis.Redis) -> bool:
    """Whether the server answers, also with an error of its own."""
    try:
        client.ping()
    except redis.exceptions.AuthenticationError:
        return True
    except redis.exceptions.ConnectionError:
        return False
    except redis.exceptions.ResponseError:
        return True
    return True


def with_user(url: str, connection: redis.Redis, rules: str, name: str = "unitrank", password: str = "s3kret") -> str:
    """Set the user's ACL, and return the address with this user. `rules`: rules of an ACL."""
    connection.execute_command("ACL", "SETUSER", name, "reset", "on", f">{password}", *rules.split())  # type: ignore[no-untyped-call]
    return f"{url}?username={name}&password={password}"


@contextmanager
def memory_limit(connection: redis.Redis, limit: int | str) -> Iterator[None]:
    """Set the server's `maxmemory`, and restore it after the block. All tests share the server."""
    before = connection.config_get("maxmemory")["maxmemory"]
    connection.config_set("maxmemory", limit)
    try:
        yield
    finally:
        connection.config_set("maxmemory", before)


def debian_redis() -> Path:
    """The program `redis-server`. Without it the test is skipped.

    `make check-redis` runs all tests that call this, and fails without the program where CI is set.
    """
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not on PATH; `make check-redis` runs this test where it is")
    return Path(program)
