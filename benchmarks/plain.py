"""RQ's plain worker with Unitrank's engine in it, to compare with: `python -m benchmarks.plain STORE`."""

import sys
from functools import cache
from pathlib import Path
from typing import Any

import redis
from rq import Queue, SimpleWorker

from unitrank_schemas.jobs import JobRequest
from unitrank_store.blobs.blob_store import BlobStore
from unitrank_store.contents.models import ModelRecord, ModelStore
from unitrank_store.redis.connection import connect
from unitrank_store.redis.embedded import socket_url
from unitrank_store.results.part_cache import PartCache
from unitrank_store.settings import Settings
from unitrank_worker.engine import Assignment, TorchEngine

QUEUE = "plain"
Json = dict[str, Any]


def compute(state: str, id: str, request: Json, resolved: Json) -> tuple[Json, dict[str, bytes]]:
    """What Unitrank's child computes for such a job; RQ keeps it as its result."""
    engine, connection, settings = _ready(state)
    model = _model(state, resolved["model"]["digest"])
    parts = PartCache(connection, settings).of("default", fresh=True)
    assignment = Assignment(id, JobRequest.model_validate(request), resolved, model, parts)
    summary, arrays = engine.run(assignment, lambda progress: None)
    return summary, {name: array.tobytes() for name, array in arrays.items()}


@cache
def _model(state: str, digest: str) -> ModelRecord:
    _, connection, settings = _ready(state)
    return ModelStore(connection, BlobStore.of(settings)).content(digest)


@cache
def _ready(state: str) -> tuple[TorchEngine, redis.Redis, Settings]:
    settings = Settings(state=Path(state))
    return TorchEngine(settings, "cpu"), connect(socket_url(Path(state))), settings


def main(url: str) -> None:
    with connect(url) as connection:
        SimpleWorker([Queue(QUEUE, connection=connection)], connection=connection).work(logging_level="WARNING")


if __name__ == "__main__":
    main(sys.argv[1])
