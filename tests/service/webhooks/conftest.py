"""A listener for webhooks, and a service whose dispatcher works at a time of the test's own."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.service.conftest import Json, Served, job, put_dataset, ready_model
from tests.support.servers.webhook_receiver import Ear, ear
from unitrank_service.backend import Backend
from unitrank_store.settings import Settings
from unitrank_store.webhooks.deliveries import DeliveryRecord

Serve = Callable[..., tuple[httpx.Client, Served]]


TRUSTED = ("127.0.0.0/8",)


@pytest.fixture
def redis_url(own_redis_url: str) -> str:
    """The dispatcher of the session's service would deliver too, and trusts nobody."""
    return own_redis_url


@pytest.fixture
def listener() -> Iterator[Ear]:
    with ear() as listener:
        yield listener


class Desk:
    """A backend whose dispatcher delivers when it is told to, at a time of the test's own."""

    def __init__(self, redis_url: str, state: Path, **settings: Any) -> None:
        self.backend = Backend.of(Settings(redis_url=redis_url, state=state, webhook_hosts=TRUSTED, **settings))
        self.jobs, self.dispatcher = self.backend.jobs, self.backend.dispatcher
        self.time = datetime.now(UTC).timestamp()
        self.dispatcher.now = lambda: self.time
        self.dispatcher.jitter = lambda: 1.0

    def wanted(self, url: str, owner: str = "") -> str:
        """A job whose end is to be told."""
        delivery = DeliveryRecord.of(owner, url)
        id = f"{len(self.jobs.list()[0]):026}"
        self.jobs.create(
            {"webhook": {"url": url}}, id=id, also=lambda pipeline: self.backend.deliveries.add(id, delivery, pipeline)
        )
        return id

    def end(self, id: str, status: Any = "succeeded") -> None:
        assert self.jobs.finish(id, self.jobs.start(id, "cpu-0") or 0, status)

    def only(self, id: str) -> DeliveryRecord:
        (found,) = self.backend.deliveries.of(id)
        return found


@pytest.fixture
def desk(redis_url: str, tmp_path: Path) -> Desk:
    return Desk(redis_url, tmp_path)


def deliveries(client: httpx.Client, id: str) -> list[Json]:
    answer = client.get(f"/v1/jobs/{id}/deliveries")
    assert answer.status_code == 200, answer.text
    assert answer.json()["next"] is None
    found: list[Json] = answer.json()["items"]
    return found


def end(served: Served, id: str, status: Any = "succeeded") -> None:
    attempt = served.backend.jobs.start(id, "cpu-0")
    assert attempt
    assert served.backend.jobs.finish(id, attempt, status)


def furnished(serve: Serve, **settings: Any) -> tuple[httpx.Client, Served]:
    client, served = serve(webhook_hosts=TRUSTED, **settings)
    ready_model(client, served)
    put_dataset(client)
    return client, served


def post(client: httpx.Client, url: str, **more: Any) -> httpx.Response:
    headers = more.pop("headers", None)
    answer = client.post("/v1/jobs", json=job(webhook={"url": url}, **more), headers=headers)
    assert answer.status_code in (200, 202), answer.text
    return answer
