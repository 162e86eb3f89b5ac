"""The service disconnects slow and oversized clients, on real sockets, and serves all others."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn

from tests.service.conftest import Served, npz
from tests.support.polling import wait_until
from unitrank_service.app import create_app
from unitrank_service.http.slow_clients import MOST_HEAD_BYTES, protocol
from unitrank_store.settings import Settings

pytestmark = pytest.mark.check

HEAD = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n"
PUT = b"PUT /v1/datasets/d HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/octet-stream\r\n"
PATIENCE = 30.0
IDLE = 300


@contextmanager
def serving(settings: Settings) -> Iterator[tuple[uvicorn.Server, Served]]:
    app = create_app(settings)
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, http=protocol(settings), timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started, "the service has started")
        yield server, Served(app, f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}")
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def hasty(redis_url: str, tmp_path: Path) -> Iterator[tuple[uvicorn.Server, Served]]:
    """A service with 0.5 s for the head of a request, and 1 s for each KiB of its body."""
    with serving(Settings(redis_url=redis_url, state=tmp_path, header_timeout=0.5, body_timeout=1)) as running:
        yield running


@contextmanager
def dialled(served: Served) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", int(served.url.rpartition(":")[2])), timeout=PATIENCE) as connection:
        yield connection


def rest(connection: socket.socket) -> bytes:
    """All bytes until the service closes the connection."""
    received = b""
    try:
        while piece := connection.recv(65536):
            received += piece
    except ConnectionResetError:
        pass
    return received


def trickled(connection: socket.socket) -> bytes:
    """The bytes that arrive while one byte is sent every 20 ms."""
    connection.settimeout(0.02)
    deadline = time.monotonic() + PATIENCE
    received = b""
    while time.monotonic() < deadline:
        try:
            connection.sendall(b"a")
            piece = connection.recv(65536)
        except TimeoutError:
            continue
        except (BrokenPipeError, ConnectionResetError):
            return received
        if not piece:
            return received
        received += piece
    raise AssertionError("the service did not close the connection")


def test_head_when_it_trickles_then_is_408(hasty: tuple[uvicorn.Server, Served]) -> None:
    with dialled(hasty[1]) as connection:
        connection.sendall(HEAD + b"X: ")

        assert trickled(connection).startswith(b"HTTP/1.1 408 ")


def test_second_head_when_it_trickles_then_is_408(hasty: tuple[uvicorn.Server, Served]) -> None:
    with dialled(hasty[1]) as connection:
        connection.sendall(HEAD + b"\r\n")
        assert b" 200 OK" in connection.recv(65536)
        connection.sendall(HEAD + b"X: ")

        assert b"HTTP/1.1 408 " in trickled(connection)


def test_connection_when_nothing_comes_then_is_closed(hasty: tuple[uvicorn.Server, Served]) -> None:
    with dialled(hasty[1]) as connection:
        assert rest(connection) == b""


@pytest.mark.parametrize("name", ["whole", "one", "address"])
def test_head_when_it_is_too_large_then_is_431(hasty: tuple[uvicorn.Server, Served], name: str) -> None:
    large = b"a" * (16 * MOST_HEAD_BYTES)
    many = b"".join(b"X-%d: %s\r\n" % (number, b"a" * 1000) for number in range(1000))
    sent = {"whole": HEAD + many + b"\r\n", "one": HEAD + b"X: " + large, "address": b"GET /" + large}[name]
    with dialled(hasty[1]) as connection:
        threading.Thread(target=_send, args=[connection, sent]).start()

        assert rest(connection).startswith(b"HTTP/1.1 431 ")


def test_head_when_it_is_just_small_enough_then_is_read(hasty: tuple[uvicorn.Server, Served]) -> None:
    with dialled(hasty[1]) as connection:
        connection.sendall(HEAD + b"X: " + b"a" * (MOST_HEAD_BYTES - 200) + b"\r\nConnection: close\r\n\r\n")

        assert rest(connection).startswith(b"HTTP/1.1 200 ")


def test_body_when_it_trickles_then_is_408_and_nothing_is_kept(hasty: tuple[uvicorn.Server, Served], tmp_path: Path) -> None:
    with dialled(hasty[1]) as connection:
        connection.sendall(PUT + b"Content-Length: 1000000\r\n\r\n")
        answer = trickled(connection)

    assert answer.startswith(b"HTTP/1.1 408 ")
    wait_until(lambda: not [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()])


def test_body_when_the_answer_came_before_it_then_is_not_waited_for(hasty: tuple[uvicorn.Server, Served]) -> None:
    with dialled(hasty[1]) as connection:
        connection.sendall(HEAD + b"Content-Length: 1000000\r\n\r\n")

        assert trickled(connection).startswith(b"HTTP/1.1 200 ")


def test_body_when_it_comes_slowly_but_steadily_then_is_taken(hasty: tuple[uvicorn.Server, Served]) -> None:
    content = npz(x=[[1.0] * 1000] * 2, y=[0, 1])
    with dialled(hasty[1]) as connection:
        connection.sendall(PUT + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(content))
        for start in range(0, len(content), 1000):
            connection.sendall(content[start : start + 1000])
            time.sleep(0.2)

        assert len(content) > 15000
        assert rest(connection).startswith(b"HTTP/1.1 201 ")


def test_answer_when_it_takes_longer_than_a_body_may_then_is_still_sent(hasty: tuple[uvicorn.Server, Served]) -> None:
    _, served = hasty
    id = served.backend.jobs.create({"model": "m"}).id
    answer = httpx.get(f"{served.url}/v1/jobs/{id}", params={"wait": 2.5}, timeout=PATIENCE)

    assert (answer.status_code, answer.json()["status"]) == (200, "queued")


def test_others_when_many_connections_idle_and_trickle_then_are_answered(hasty: tuple[uvicorn.Server, Served]) -> None:
    server, served = hasty
    held = [socket.create_connection(("127.0.0.1", int(served.url.rpartition(":")[2]))) for _ in range(IDLE)]
    try:
        for number, connection in enumerate(held):
            connection.sendall([HEAD, PUT + b"Content-Length: 1000000\r\n\r\na", b"G"][number % 3])
        with httpx.Client(base_url=served.url, timeout=PATIENCE) as client:
            answers = [client.get("/v1/models").status_code for _ in range(20)]
            wait_until(lambda: len(server.server_state.connections) <= 1)
    finally:
        for connection in held:
            connection.close()

    assert answers == [200] * 20


def _send(connection: socket.socket, content: bytes) -> None:
    try:
        connection.sendall(content)
    except OSError:
        return  # the service has closed the connection
