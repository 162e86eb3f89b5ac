"""A bucket and a web server from which datasets and models are imported."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.service.conftest import npz
from tests.support.servers.remote_sources import Bucket, Web, s3, web

SHARDS = [npz(x=np.arange(6, dtype=np.uint8).reshape(3, 2), y=np.arange(3)), npz(x=np.full((2, 2), 9, np.uint8), y=np.arange(2))]


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    with s3() as bucket, pytest.MonkeyPatch.context() as patch:
        for name, value in bucket.environment.items():
            patch.setenv(name, value)
        yield bucket


@pytest.fixture
def site() -> Iterator[Web]:
    with web() as site:
        yield site


def stored(path: Path) -> list[str]:
    """The names of all files of the blob store."""
    return sorted(file.name for file in (path / "blobs").rglob("*") if file.is_file())
