"""A receiver of webhooks, and a backend whose dispatcher runs at times that the test sets."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.service.conftest import Json, Served, job, put_dataset, ready_model
from tests.support.servers.webhook_receiver import WebhookReceiver, webhook_receiver
from unitrank_service.backend import Backend
from unitrank_store.settings import Settings
from unitrank_store.webhooks.deliveries import DeliveryRecord

Serve = Callable[..., tuple[httpx.Client, Served]]


TRUSTED = ("127.0.0.0/8",)


@pytest.fixture
def redis_url(own_redis_url: str) -> str:
    """Another store than the session's, whose dispatcher would deliver too, and trusts no host."""
    return own_redis_url


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with webhook_receiver() as receiver:
        yield receiver


class Desk:
    """A backend whose dispatcher delivers when the test calls it. `time` is its clock."""

    def __init__(self, redis_url: str, state: Path, **settings: Any) -> None:
        self.backend = Backend.of(Settings(redis_url=redis_url, state=state, webhook_hosts=TRUSTED, **settings))
        self.jobs, self.dispatcher = self.backend.jobs, self.backend.dispatcher
        self.time = datetime.now(UTC).timestamp()
        self.dispatcher.now = lambda: self.time
        self.dispatcher.jitter = lambda: 1.0

    def add_job(self, url: str, owner: str = "") -> str:
        """Add a job with a webhook, and return its id."""
        delivery = DeliveryRecord.of(owner, url)
        id = f"{len(self.jobs.list()[0]):026}"
        self.jobs.create(
            {"webhook": {"url": url}}, id=id, also=lambda pipeline, record: self.backend.deliveries.add(id, delivery, pipeline)
        )
        return id

    def end(self, id: str, status: Any = "succeeded") -> None:
        assert self.jobs.finish(id, self.jobs.start(id, "cpu-0") or 0, status)

    def only(self, id: str) -> DeliveryRecord:
        (delivery,) = self.backend.deliveries.of(id)
        return delivery


@pytest.fixture
def desk(redis_url: str, tmp_path: Path) -> Desk:
    return Desk(redis_url, tmp_path)


def deliveries(client: httpx.Client, id: str) -> list[Json]:
    answer = client.get(f"/v1/jobs/{id}/deliveries")
    assert answer.status_code == 200, answer.text
    assert answer.json()["next"] is None
    items: list[Json] = answer.json()["items"]
    return items


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
