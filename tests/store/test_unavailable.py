"""Errors that mean that the store cannot serve, most of them from real servers."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
import redis
from redis._parsers.base import BaseParser

from tests.support.polling import wait_until
from tests.support.processes import short_folder
from tests.support.servers.redis_server import redis_server, with_user
from unitrank.addresses import claim_port
from unitrank_store.redis.connection import connect
from unitrank_store.unavailable import store_error, unavailable_reason

WRITE_IN_SCRIPT = "return redis.call('SET', 'unitrank:x', '1')"


@contextmanager
def client(*flags: str, options: str = "", rules: str = "") -> Iterator[redis.Redis]:
    """A client of a server with the flags, and with the user that the rules allow."""
    with short_folder() as folder, redis_server(folder / "server", *flags) as url:
        if rules:
            with connect(url) as connection:
                url = with_user(url, connection, rules)
        with connect(url + options) as connection:
            yield connection


def reason(step: Callable[[], object]) -> str:
    with pytest.raises(redis.exceptions.RedisError) as caught:
        step()
    assert unavailable_reason(caught.value) == store_error(caught.value)
    return store_error(caught.value)


def write_in_transaction(connection: redis.Redis) -> None:
    with connection.pipeline() as pipeline:
        pipeline.set("unitrank:x", "1")
        pipeline.execute()


@pytest.mark.parametrize("options", ["", "?password=wrong"], ids=["NOAUTH", "WRONGPASS"])
def test_server_that_rejects_the_password_has_a_reason(options: str) -> None:
    with client("--requirepass", "right", options=options) as connection:
        assert "rejects the user name or the password" in reason(connection.ping)


def test_acl_that_forbids_a_command_names_it_on_every_path() -> None:
    with client(rules="~unitrank:* +@all -set -info -exec") as connection:
        steps = [
            lambda: connection.set("unitrank:x", "1"),
            lambda: connection.info(),
            lambda: connection.publish("channel", "text"),
            lambda: connection.get("rq:x"),
            lambda: connection.eval("return redis.call('GET', 'rq:x')", 0),
            lambda: connection.eval(WRITE_IN_SCRIPT, 0),
        ]
        reasons = [reason(step) for step in steps]
        with connection.pipeline() as pipeline:
            pipeline.get("unitrank:x")
            reasons.append(reason(pipeline.execute))

    assert [text.partition(" by its ACL")[0] for text in reasons[:4]] == [
        "forbids the command SET",
        "forbids the command INFO",
        "forbids a channel that it needs",
        "forbids a key that it needs",
    ]
    assert all("by its ACL; `unitrank doctor`" in text for text in reasons)
    assert "the command EXEC" in reasons[-1]


def test_acl_that_forbids_multi_names_it() -> None:
    with client(rules="~unitrank:* +@all -multi") as connection:
        assert "forbids the command MULTI" in reason(lambda: write_in_transaction(connection))


def test_replica_has_a_reason_for_writes_in_commands_transactions_and_scripts() -> None:
    with client("--replicaof", "127.0.0.1", "1") as connection:
        steps = (
            lambda: connection.set("unitrank:x", "1"),
            lambda: write_in_transaction(connection),
            lambda: connection.eval(WRITE_IN_SCRIPT, 0),
        )
        assert all("is a replica, which accepts no writes" in reason(step) for step in steps)


def test_replica_without_its_master_has_a_reason() -> None:
    with client("--replicaof", "127.0.0.1", "1", "--replica-serve-stale-data", "no") as connection:
        assert "has lost its master" in reason(lambda: connection.get("unitrank:x"))


def test_cluster_without_slots_has_a_reason() -> None:
    port = str(claim_port("127.0.0.1", 0))
    with client("--cluster-enabled", "yes", "--port", port, "--cluster-port", "0") as connection:
        assert "cluster mode" in reason(lambda: connection.get("unitrank:x"))
        assert "cluster mode" in reason(lambda: connection.mget("unitrank:x", "unitrank:y"))


def test_server_that_runs_a_long_script_has_a_reason() -> None:
    with client("--lua-time-limit", "1") as connection:

        def run_forever() -> None:
            with suppress(redis.exceptions.RedisError):
                connection.eval("while true do end", 0)

        thread = threading.Thread(target=run_forever)
        thread.start()
        errors: list[Exception] = []

        def is_busy() -> bool:
            try:
                connection.get("unitrank:x")
            except redis.exceptions.ResponseError as error:
                errors.append(error)
            return bool(errors)

        wait_until(is_busy, "the server is busy")
        connection.script_kill()
        thread.join()

    assert unavailable_reason(errors[0]) == "is busy with a script"


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        ("LOADING Redis is loading the dataset in memory", "still reads its data"),
        ("MOVED 3999 127.0.0.1:6381", "cluster mode"),
        ("ASK 3999 127.0.0.1:6381", "cluster mode"),
        ("TRYAGAIN Multiple keys request during rehashing of slot", "cluster mode"),
        ("ERR unknown command `HELLO`, with args beginning with: `3`, ", "older than Redis 6.2"),
        ("ERR Error running script (call to f_1): @user_script:1: @user_script: 1: -READONLY You can't write", "is a replica"),
        (
            "ERR Error running script (call to f_1): @user_script:1: @user_script: 1: "
            "The user executing the script can't run this command or subcommand",
            "forbids a command that it needs",
        ),
        ("EXECABORT Transaction discarded because of: READONLY You can't write", "is a replica"),
    ],
)
def test_answer_of_a_server_that_no_test_can_bring_about_has_a_reason(answer: str, part: str) -> None:
    assert part in (unavailable_reason(BaseParser.parse_error(answer)) or "")


@pytest.mark.parametrize(
    "error",
    [
        BaseParser.parse_error("WRONGTYPE Operation against a key holding the wrong kind of value"),
        BaseParser.parse_error("OOM command not allowed when used memory > 'maxmemory'."),
        BaseParser.parse_error("MISCONF Errors writing to the AOF file"),
        redis.exceptions.WatchError("a key has changed"),
        OSError("READONLY file system"),
    ],
)
def test_error_of_another_kind_has_no_reason(error: Exception) -> None:
    assert unavailable_reason(error) is None
