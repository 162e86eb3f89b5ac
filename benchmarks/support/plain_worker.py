"""RQ's plain worker, which runs Unitrank's engine: `python -m benchmarks.support.plain_worker URL`.

`benchmarks/service/load.py` compares Unitrank's worker with it. `URL` is the Redis URL of the
store.
"""

import sys
from functools import cache
from pathlib import Path
from typing import Any

from rq import Queue, SimpleWorker

from unitrank_schemas.jobs import JobRequest
from unitrank_store.blobs.blob_store import BlobStore
from unitrank_store.contents.models import ModelRecord, ModelStore
from unitrank_store.redis.connection import connect
from unitrank_store.redis.embedded import socket_url
from unitrank_store.settings import Settings
from unitrank_worker.child_settings import ChildSettings
from unitrank_worker.engine import Assignment, TorchEngine

QUEUE = "plain"
Json = dict[str, Any]


def compute(state: str, id: str, request: Json, resolved: Json) -> tuple[Json, dict[str, bytes]]:
    """The result that Unitrank's child computes for this request; RQ stores it.

    `state`: the state folder. `id`, `request`, `resolved`: fields of the job's record.
    """
    engine, blobs = _engine_and_blobs(state)
    model = _model(state, resolved["model"]["digest"])
    assignment = Assignment(
        id,
        JobRequest.model_validate(request),
        resolved | {"clean": model.clean},
        table=blobs.path(resolved["dataset"]["digest"]),
        archive=blobs.path(str(model.clean)),
        manifest=model.manifest,
    )
    summary, arrays = engine.run(assignment, lambda progress: None)
    return summary, {name: array.tobytes() for name, array in arrays.items()}


@cache
def _model(state: str, digest: str) -> ModelRecord:
    return ModelStore(connect(socket_url(Path(state))), _engine_and_blobs(state)[1]).content(digest)


@cache
def _engine_and_blobs(state: str) -> tuple[TorchEngine, BlobStore]:
    blobs = BlobStore.of(Settings(state=Path(state)))
    engine = TorchEngine(ChildSettings(scratch=str(blobs.spool)), "cpu")
    engine.open()
    return engine, blobs


def main(url: str) -> None:
    with connect(url) as connection:
        SimpleWorker([Queue(QUEUE, connection=connection)], connection=connection).work(logging_level="WARNING")


if __name__ == "__main__":
    main(sys.argv[1])
