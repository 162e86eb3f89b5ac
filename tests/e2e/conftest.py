"""A complete installation for one test process: store, service, inspector and one worker."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from torch import nn

from tests.support.environments.architecture import install
from tests.support.polling import wait_until
from unitrank.client.sync import Client
from unitrank.server.local import Local, local
from unitrank_store.redis.embedded import EmbeddedServer


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The example's architecture is installed for each process that a test starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(install(tmp_path_factory.mktemp("installed") / "site")), prepend=os.pathsep)
        yield


@pytest.fixture(scope="session")
def stack(server: EmbeddedServer, installed: None) -> Iterator[Local]:
    """The running processes. The fixture `server` skips or fails the test if no store can run."""
    folder = tempfile.TemporaryDirectory(prefix="unitrank-e2e-", ignore_cleanup_errors=True)
    with folder as state, local(Path(state)) as service, Client(service.url) as client:
        service.await_ready(client)
        yield service


@pytest.fixture(scope="session")
def url(stack: Local) -> str:
    """The URL of the service."""
    return stack.url


@pytest.fixture
def http(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=90) as client:
        yield client


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url) as client:
        yield client


def save(module: nn.Module, path: Path, *example: torch.Tensor) -> Path:
    """Export the module to `path`, as a user does; returns `path`."""
    shapes = tuple({0: torch.export.Dim("batch", min=1)} for _ in example)
    torch.export.save(torch.export.export(module.eval(), example, dynamic_shapes=shapes), path)
    return path


def ended(http: httpx.Client, path: str) -> dict[str, Any]:
    """The model or job, as soon as it is no longer inspected, queued or running."""

    def read() -> dict[str, Any] | None:
        resource: dict[str, Any] = http.get(path).json()
        return None if resource["status"] in ("inspecting", "queued", "running") else resource

    return wait_until(read, f"{path} ends")
