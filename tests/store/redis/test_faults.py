"""The faults of a server, found on real servers that are configured wrongly."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer

import pytest
import redis
import structlog

from tests.support.processes import short_folder
from tests.support.servers.loopback import served
from tests.support.servers.redis_server import HEALTHY, debian_redis, redis_server, with_user
from unitrank.addresses import claim_port
from unitrank_store.errors import UnsupportedStore
from unitrank_store.redis.connection import connect
from unitrank_store.redis.faults import find_faults, report_faults
from unitrank_store.redis.permissions import acl_command

RULES = acl_command().partition(">PASSWORD ")[2]
Start = Callable[..., str]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a server with the flags, and returns its address."""
    with ExitStack() as stack:
        folder = stack.enter_context(short_folder())
        yield lambda *flags: stack.enter_context(redis_server(folder / "server", *flags))


def faults_of(url: str) -> list[tuple[str, str]]:
    with connect(url) as connection:
        return [(fault.code, fault.severity) for fault in find_faults(connection)]


def details_of(url: str) -> str:
    with connect(url) as connection:
        return "; ".join(fault.detail for fault in find_faults(connection))


def test_server_of_unitrank_has_no_faults(redis_url: str) -> None:
    assert faults_of(redis_url) == []


@pytest.mark.parametrize("protocol", [2, 3])
def test_server_when_configured_well_then_has_no_faults_in_either_protocol(start: Start, protocol: int) -> None:
    assert faults_of(f"{start(*HEALTHY)}?protocol={protocol}") == []


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
def test_server_when_it_evicts_keys_then_names_its_policy(start: Start, policy: str) -> None:
    url = start(*HEALTHY[:2], "--maxmemory-policy", policy)

    assert faults_of(url) == [("eviction", "warning")]
    assert f"maxmemory-policy {policy}" in details_of(url)


@pytest.mark.parametrize(
    ("save", "part"), [("", "persistence is switched off (appendonly no, no save)"), ("60 1", "since its last snapshot")]
)
def test_server_without_a_log_then_tells_what_is_lost(start: Start, save: str, part: str) -> None:
    url = start(*HEALTHY[2:], "--save", save)

    assert faults_of(url) == [("persistence", "warning")]
    assert part in details_of(url)


def test_server_when_config_is_forbidden_then_snapshots_are_unknown(start: Start) -> None:
    url = start(*HEALTHY[2:])
    with connect(url) as connection:
        user = with_user(url, connection, RULES)

    assert "since its last snapshot" in details_of(user)


def test_server_when_info_is_forbidden_then_the_unknown_is_named_once(start: Start) -> None:
    url = start("--maxmemory-policy", "allkeys-lru")
    with connect(url) as connection:
        user = with_user(url, connection, f"{RULES} -info")

    assert faults_of(user) == [("acl", "warning")]
    assert "forbids INFO" in details_of(user)
    assert "unknown" in details_of(user)


def test_server_when_its_acl_lacks_parts_then_jobs_cannot_run(start: Start) -> None:
    url = start(*HEALTHY)
    with connect(url) as connection:
        user = with_user(url, connection, f"{RULES} resetkeys ~unitrank* -blmove")

    assert faults_of(user) == [("acl", "blocking"), ("acl", "blocking")]
    assert "forbids the commands BLMOVE" in details_of(user)
    assert "forbids the keys rq:*" in details_of(user)
    assert "s3kret" not in details_of(user)


def test_server_in_cluster_mode_is_unsupported(start: Start) -> None:
    url = start(*HEALTHY, "--cluster-enabled", "yes", "--port", str(claim_port("127.0.0.1", 0)), "--cluster-port", "0")

    assert faults_of(url) == [("cluster", "unsupported")]


def test_server_that_is_a_sentinel_is_unsupported(tmp_path: Path) -> None:
    program = debian_redis()
    with short_folder() as folder:
        file = folder / "sentinel.conf"
        file.write_text(f"sentinel monitor main 127.0.0.1 {claim_port('127.0.0.1', 0)} 1\n")
        with redis_server(folder / "server", str(file), "--sentinel", program=program) as url:
            assert faults_of(url) == [("sentinel", "unsupported")]
            with connect(url) as connection, pytest.raises(UnsupportedStore, match="address of the master"):
                report_faults(connection)


def test_server_that_is_a_replica_accepts_no_writes(start: Start) -> None:
    url = start(*HEALTHY, "--replicaof", "127.0.0.1", "1")

    assert ("replica", "blocking") in faults_of(url)


def test_server_that_does_not_know_hello_is_too_old() -> None:
    # The answer of Redis 5, which is not packaged any more.
    with served_answers({b"HELLO": b"-ERR unknown command `HELLO`, with args beginning with: `3`, \r\n"}) as url:
        assert faults_of(url) == [("version", "unsupported")]


def test_server_of_an_old_version_is_too_old() -> None:
    words = {"server": "redis", "version": "6.0.16", "proto": 2, "mode": "standalone", "role": "master"}
    fields = "".join(f"${len(str(word))}\r\n{word}\r\n" for pair in words.items() for word in pair)
    with served_answers({b"HELLO": f"*{2 * len(words)}\r\n{fields}".encode()}) as url:
        assert faults_of(f"{url}?protocol=2") == [("version", "unsupported")]
        assert "6.0.16" in details_of(f"{url}?protocol=2")


def test_report_when_something_is_wrong_then_each_fault_is_a_line_of_the_log(start: Start) -> None:
    url = start("--maxmemory-policy", "allkeys-lru")
    with connect(url) as connection, structlog.testing.capture_logs() as lines:
        report_faults(connection)

    assert [(line["fault"], line["log_level"]) for line in lines] == [("eviction", "warning"), ("persistence", "warning")]


def test_faults_when_the_password_is_wrong_then_raises_the_servers_error(start: Start) -> None:
    url = start(*HEALTHY, "--requirepass", "right")
    with connect(f"{url}?password=wrong") as connection, pytest.raises(redis.exceptions.AuthenticationError):
        find_faults(connection)


@contextmanager
def served_answers(answers: dict[bytes, bytes]) -> Iterator[str]:
    """Answer each command that contains one of the words with its bytes, and PING with PONG."""
    answers = {b"PING": b"+PONG\r\n", **answers}

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            # redis-py waits for the answer to a command before it sends the next one.
            while command := self.request.recv(65536):
                self.request.sendall(next((answer for word, answer in answers.items() if word in command), b"+OK\r\n"))

    with served(server := ThreadingTCPServer(("127.0.0.1", 0), Handler)):
        yield f"redis://127.0.0.1:{server.server_address[1]}"
