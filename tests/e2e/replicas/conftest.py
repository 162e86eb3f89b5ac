"""Three services on a Valkey server of their own."""

from collections.abc import Iterator

import httpx
import pytest
import redis

from tests.e2e.replicas.installation import Installation
from tests.service.conftest import MANIFEST, npz
from tests.support.processes import short_folder
from tests.support.servers.remote_sources import Web, web
from tests.support.servers.webhook_receiver import WebhookReceiver, webhook_receiver
from unitrank_store.contents.models import ModelStore
from unitrank_store.redis.connection import connect
from unitrank_store.redis.embedded import EmbeddedServer

BYTES = {"Content-Type": "application/octet-stream"}


@pytest.fixture(scope="package")
def receiver() -> Iterator[WebhookReceiver]:
    with webhook_receiver() as receiver:
        yield receiver


@pytest.fixture(scope="package")
def site() -> Iterator[Web]:
    """A web server that the services may import from."""
    with web() as site:
        yield site


@pytest.fixture(scope="package")
def installation(server: EmbeddedServer, receiver: WebhookReceiver, site: Web) -> Iterator[Installation]:
    """Three services without a worker. The fixture `server` skips or fails without a store."""
    settings = {"UNITRANK_WEBHOOK_HOSTS": receiver.url.removeprefix("http://"), "UNITRANK_SOURCES": site.url}
    with short_folder() as state, EmbeddedServer(state) as store:
        installation = Installation(store.url, state, settings)
        try:
            for _ in range(3):
                installation.start_service()
            installation.await_ready()
            yield installation
        finally:
            installation.end()


@pytest.fixture
def services(installation: Installation) -> Installation:
    """The installation, with three services again where a test has killed one."""
    for service in list(installation.services):
        if service.running.poll() is not None:
            installation.remove(service)
    while len(installation.services) < 3:
        installation.start_service()
    installation.await_ready()
    return installation


@pytest.fixture
def http(services: Installation) -> Iterator[httpx.Client]:
    """A client whose requests go to the services in turn."""
    with services.client() as client:
        yield client


@pytest.fixture
def connection(installation: Installation) -> Iterator[redis.Redis]:
    """A connection to the store of the services."""
    with connect(installation.store) as connection:
        yield connection


@pytest.fixture
def prepared(services: Installation, http: httpx.Client, connection: redis.Redis) -> Installation:
    """The services, with the model `net` and the dataset `data`."""
    digest = http.put("/v1/models/net", content=b"archive", headers=BYTES).json()["digest"]
    with services.blobs.writer() as writer:
        writer.write(b"clean archive")
    ModelStore(connection, services.blobs).ready(digest, MANIFEST, writer.digest)
    answer = http.put("/v1/datasets/data", content=npz(image=[[[[0, 0], [0, 0]]]] * 9, y=[0, 1, 2] * 3), headers=BYTES)
    assert answer.is_success, answer.text
    return services
