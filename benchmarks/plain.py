"""RQ's plain worker with Unitrank's engine in it, to compare with: `python -m benchmarks.plain STORE`."""

import sys
from functools import cache
from pathlib import Path
from typing import Any

import redis
from rq import Queue, SimpleWorker

from api_schemas.jobs import JobRequest
from store.blobs import Blobs
from store.connection import connect
from store.embedded import socket_url
from store.models import ModelRecord, Models
from store.parts import Parts
from store.settings import Settings
from worker.engine import Assignment, TorchEngine

QUEUE = "plain"
Json = dict[str, Any]


def compute(state: str, id: str, request: Json, resolved: Json) -> tuple[Json, dict[str, bytes]]:
    """What Unitrank's child computes for such a job; RQ keeps it as its result."""
    engine, connection, settings = _ready(state)
    model = _model(state, resolved["model"]["digest"])
    parts = Parts(connection, settings).of("default", fresh=True)
    assignment = Assignment(id, JobRequest.model_validate(request), resolved, model, parts)
    summary, arrays = engine.run(assignment, lambda progress: None)
    return summary, {name: array.tobytes() for name, array in arrays.items()}


@cache
def _model(state: str, digest: str) -> ModelRecord:
    _, connection, settings = _ready(state)
    return Models(connection, Blobs.of(settings)).content(digest)


@cache
def _ready(state: str) -> tuple[TorchEngine, redis.Redis, Settings]:
    settings = Settings(state=Path(state))
    return TorchEngine(settings, "cpu"), connect(socket_url(Path(state))), settings


def main(url: str) -> None:
    with connect(url) as connection:
        SimpleWorker([Queue(QUEUE, connection=connection)], connection=connection).work(logging_level="WARNING")


if __name__ == "__main__":
    main(sys.argv[1])
