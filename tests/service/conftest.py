"""The service on a real store, without a worker. A test makes a model ready with `ready_model`."""

import io
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI

from tests.support.polling import wait_until
from unitrank_service.app import create_app
from unitrank_service.backend import Backend
from unitrank_store.redis.connection import connect
from unitrank_store.redis.embedded import EmbeddedServer
from unitrank_store.settings import Settings

Json = dict[str, Any]

PATIENCE = 60.0
"""Seconds that one answer may take. Drawing a report is slow on a busy machine."""
TLS = httpx.create_ssl_context()
"""Shared by all clients: each client would otherwise read all certificates, which takes 20 ms."""

MANIFEST: Json = {
    "inputs": [{"name": "image", "dtype": "float32", "shape": [None, 1, 2, 2]}],
    "outputs": [{"name": "output", "dtype": "float32", "shape": [None, 3]}],
    "parameters": 120,
    "layers": [
        {"name": "input", "kind": "Input", "shape": [1, 2, 2], "units": 4, "channels": 1, "channel_axis": 0, "cut": True},
        {
            "name": "conv1",
            "kind": "Conv2d",
            "shape": [4, 2, 2],
            "units": 16,
            "channels": 4,
            "channel_axis": 0,
            "cut": True,
            "input_shape": [1, 2, 2],
            "input_cut": True,
            "input_channel_axis": 0,
            "forward_cost": 0.5,
        },
        {"name": "fc", "kind": "Linear", "shape": [3], "units": 3, "channels": 3, "channel_axis": 0, "cut": True},
    ],
    "flops": 1000,
    "differentiable": True,
}


@dataclass(frozen=True)
class Served:
    """A running service."""

    app: FastAPI
    url: str

    @property
    def backend(self) -> Backend:
        backend: Backend = self.app.state.backend
        return backend


@contextmanager
def serving(settings: Settings, clock: Callable[[], float] = time.monotonic) -> Iterator[Served]:
    """Run the service in a thread, on a free port."""
    app = create_app(settings, clock)
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, proxy_headers=False, timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started, "the service has started")
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Served(app, f"http://127.0.0.1:{port}")
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="session")
def server(server: EmbeddedServer) -> Iterator[EmbeddedServer]:
    """The store of the session's service, whose reaper writes to it during all tests.

    The fixture that this one replaces skips or fails where the server's binary is missing.
    """
    with tempfile.TemporaryDirectory(prefix="unitrank-") as state, EmbeddedServer(Path(state)) as server:
        yield server


@pytest.fixture(scope="module")
def own_server(server: EmbeddedServer) -> Iterator[EmbeddedServer]:
    """A store for modules whose services have other settings than the session's service."""
    with tempfile.TemporaryDirectory(prefix="unitrank-") as state, EmbeddedServer(Path(state)) as server:
        yield server


@pytest.fixture
def own_redis_url(own_server: EmbeddedServer) -> str:
    """The address of the module's store, which is empty."""
    with connect(own_server.url) as client:
        client.flushall()
    return own_server.url


@pytest.fixture(scope="session")
def served(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One service for the session, with the default settings."""
    with serving(Settings(redis_url=server.url, state=tmp_path_factory.mktemp("state"))) as served:
        yield served


@pytest.fixture
def client(served: Served, redis_url: str) -> Iterator[httpx.Client]:
    """A client of the session's service. The store is empty."""
    with httpx.Client(base_url=served.url, timeout=PATIENCE, verify=TLS) as client:
        yield client


@pytest.fixture
def idle_importer(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service begins no import: it looks for imports every 2 s, and may find that of a test."""
    monkeypatch.setattr(served.backend.importer, "read_next", lambda stop: False)


@pytest.fixture
def serve(redis_url: str, tmp_path: Path) -> Iterator[Callable[..., tuple[httpx.Client, Served]]]:
    """Starts a service with the test's settings."""
    with ExitStack() as stack:

        def start(**settings: Any) -> tuple[httpx.Client, Served]:
            served = stack.enter_context(serving(Settings(**{"redis_url": redis_url, "state": tmp_path} | settings)))
            return stack.enter_context(httpx.Client(base_url=served.url, timeout=PATIENCE, verify=TLS)), served

        yield start


def npz(**fields: Any) -> bytes:
    """The bytes of an npz."""
    file = io.BytesIO()
    np.savez(file, **{name: np.asarray(values) for name, values in fields.items()})
    return file.getvalue()


def put_model(client: httpx.Client, name: str = "net", body: bytes = b"archive") -> Json:
    """Upload bytes as a model. Its status stays `inspecting`."""
    answer = client.put(f"/v1/models/{name}", content=body, headers={"Content-Type": "application/octet-stream"})
    assert answer.status_code in (200, 202), answer.text
    resource: Json = answer.json()
    return resource


def ready_model(client: httpx.Client, served: Served, name: str = "net", body: bytes = b"archive", **manifest: Any) -> Json:
    """Upload a model, and make it ready as a worker does."""
    model = put_model(client, name, body)
    with served.backend.blobs.writer() as sink:
        sink.write(b"clean " + body)
    served.backend.models.ready(model["digest"], MANIFEST | manifest, sink.digest)
    resource: Json = client.get(f"/v1/models/{name}").json()
    return resource


def put_dataset(client: httpx.Client, name: str = "data", **fields: Any) -> Json:
    """Upload a dataset. Without fields it has ten examples with labels."""
    fields = fields or {"image": np.zeros((10, 1, 2, 2), np.uint8), "y": np.arange(10, dtype=np.uint8) % 3}
    answer = client.put(f"/v1/datasets/{name}", content=npz(**fields), headers={"Content-Type": "application/octet-stream"})
    assert answer.status_code in (200, 201), answer.text
    resource: Json = answer.json()
    return resource


def job(**changes: Any) -> Json:
    """A valid request for the model of `ready_model` and the dataset of `put_dataset`."""
    return {"model": "net", "layer": "conv1", "dataset": "data", "methods": ["gradient"], **changes}


def assert_problem(answer: httpx.Response, status: int, code: str, pointer: str | None = None) -> Json:
    """Check that the answer is this problem, and reveals nothing about the service's code."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    problem: Json = answer.json()
    assert (answer.status_code, problem["status"], problem["code"]) == (status, status, code), answer.text
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert all(problem[name] for name in ("type", "title", "detail"))
    assert "Traceback" not in answer.text
    if pointer is not None:
        assert pointer in [error["pointer"] for error in problem["errors"]], answer.text
    return problem


BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


OWN = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def browser(served: Served, redis_url: str) -> Iterator[httpx.Client]:
    """A client that keeps cookies and sends the headers of a browser on the service's own page."""
    with httpx.Client(base_url=served.url, headers={**BROWSER, **OWN}, timeout=PATIENCE, verify=TLS) as client:
        yield client


SignIn = Callable[..., httpx.Client]


@pytest.fixture
def signed_in(browser: httpx.Client, served: Served) -> SignIn:
    """Sign the browser in with a new key."""

    def sign_in(*scopes: str, tenant: str = "default") -> httpx.Client:
        _, secret = served.backend.keys.create("Ada", scopes or ("admin",), tenant)
        assert browser.post("/signin", data={"key": secret}).status_code == 303
        return browser

    return sign_in
