"""A model and a dataset for jobs."""

from typing import Any

import httpx
import pytest

from tests.service.conftest import Served, job, put_dataset, ready_model

PROBLEM = {"code": "internal", "title": "Broken", "detail": "it broke", "status": 500, "retryable": True}


@pytest.fixture(autouse=True)
def _ready(client: httpx.Client, served: Served) -> None:
    ready_model(client, served)
    put_dataset(client)


def post(client: httpx.Client, **changes: Any) -> dict[str, Any]:
    """Submit a new job, even if an equal job exists."""
    answer = client.post("/v1/jobs", json=job(**changes), headers={"Cache-Control": "no-cache"})
    assert answer.status_code == 202, answer.text
    resource: dict[str, Any] = answer.json()
    return resource
