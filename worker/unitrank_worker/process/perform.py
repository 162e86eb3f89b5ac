"""Runs one job or inspection in the child: calls the engine, and sends messages to the parent."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

import structlog
from pydantic import ValidationError

from unitrank_engine.errors import EngineError
from unitrank_schemas.base import Json
from unitrank_schemas.jobs import JobRequest
from unitrank_tables import ChunkDigests
from unitrank_tables.files import open_file
from unitrank_tables.result_arrays import encode_arrays
from unitrank_worker.distributed.runners import ROLES
from unitrank_worker.engine import Assignment, Engine, Upload
from unitrank_worker.failures import ending, is_unexpected, spoils_process
from unitrank_worker.problem import WORKER_TOO_OLD
from unitrank_worker.process.channel import Channel, Message
from unitrank_worker.process.parent import ParentShards, span

log = structlog.get_logger()

PIECE_BYTES = 1 << 20
FEW_OPERATIONS = 1e5
"""A main pass with fewer floating-point operations takes less time than the question for parts."""


def perform(order: Message, channel: Channel, engine: Engine, scratch: Path) -> bool:
    """Run the parent's order and send the outcome.

    Returns whether the process can run further jobs.

    An error of the engine ends the job: the parent gets a status and a problem for the record.
    """
    content = order.content
    status, problem, spoiled = "succeeded", None, False
    with structlog.contextvars.bound_contextvars(**content["about"]):
        try:
            KINDS[content["run"]](order, channel, engine, scratch)
        except Exception as error:
            status, problem = ending(error, content["run"])
            spoiled = spoils_process(error)
            unexpected = is_unexpected(problem)
            (log.error if unexpected else log.info)(status, exc_info=unexpected)
        finally:
            order.close()
        channel.send({"end": status, "problem": problem, "warm": warm_models(engine), "leaving": spoiled})
    return not spoiled


def warm_models(engine: Engine) -> list[Json]:
    """The models in the engine's memory, as the list of a message."""
    return [{"digest": model.digest, "name": model.name} for model in engine.warm()]


def _run_job(order: Message, channel: Channel, engine: Engine, scratch: Path) -> None:
    content = order.content
    role = ROLES[content.get("role", "local")](channel)
    # Replicas ask for the parts that their owner got, so the owner of a divided job asks always.
    role.parts.fresh = bool(content["resolved"].get("fresh")) and "role" not in content
    role.report.raise_if_stopped()
    table, *others = order.paths()
    further = content.get("further", [])
    chunks = [ChunkDigests.from_json(digests) for digests in content.get("digests") or []]
    archive = others[len(further) :]
    request = _request_of(content["request"])
    assignment = Assignment(
        id=content["id"],
        request=request,
        resolved=content["resolved"],
        table=table,
        archive=archive[0] if archive else None,
        digests=chunks[0] if chunks else None,
        further={
            reference: (path, chunks[index] if chunks else None)
            for index, (reference, path) in enumerate(zip(further, others, strict=False), start=1)
        },
        manifest=content["manifest"],
        parts=role.parts if "role" in content or _is_worth_reusing(request, content["resolved"]) else None,
        span=partial(span, channel) if content.get("spans", True) and not role.is_replica else nullcontext,
        runner=role.runner,
        shards=lambda number: ParentShards(channel, number),
    )
    since = time.monotonic()
    summary, arrays = engine.run(assignment, role.report)
    seconds = time.monotonic() - since
    if not role.is_replica:
        result = _completed(summary, role.nodes, content.get("warnings", []))
        channel.hold({"result": result, "progress": role.report.last, "seconds": seconds}, encode_arrays(arrays))


def _is_worth_reusing(request: JobRequest, resolved: Json) -> bool:
    """Whether the job asks for parts of earlier jobs, and keeps its own.

    A job of one short main pass does neither: the question takes longer than its pass. A job whose
    operations the service could not count does both.
    """
    is_one_pass = request.ablation is None and request.fidelity is None and not request.clusters.reads_model
    return not (is_one_pass and 0 < float(resolved.get("flops", 0)) < FEW_OPERATIONS)


def _completed(summary: Json, nodes: int | None, warnings: Sequence[Json]) -> Json:
    """The summary with the number of nodes, and with the parent's warnings."""
    cost = {"cost": {**summary.get("cost", {}), "nodes": nodes}} if nodes is not None else {}
    return {**summary, **cost} | ({"warnings": [*summary.get("warnings", []), *warnings]} if warnings else {})


def _request_of(stored: Json) -> JobRequest:
    """The request of a record.

    Options of a newer service that this version does not know have their defaults, so they are left
    out: the parent checked that (`unitrank_worker.newer_records`). Raises EngineError.
    """
    try:
        return JobRequest.model_validate(stored, extra="ignore")
    except ValidationError as error:
        raise EngineError(WORKER_TOO_OLD["code"], WORKER_TOO_OLD["detail"], retryable=True) from error


def _inspect_model(order: Message, channel: Channel, engine: Engine, scratch: Path) -> None:
    (source,) = order.paths()
    architecture = order.content["architecture"]
    with _draft(scratch) as target, _copy(source, scratch) if architecture else nullcontext(source) as upload:
        manifest = engine.inspect(Upload(upload, architecture), target)
        with target.open("rb") as archive:
            while piece := archive.read(PIECE_BYTES):
                channel.send({"archive": "piece"}, piece)
    channel.send({"manifest": manifest})


KINDS = {"job": _run_job, "inspection": _inspect_model}


@contextmanager
def _copy(source: Path, scratch: Path) -> Iterator[Path]:
    """A copy of the file in the scratch folder, which is deleted when the block ends.

    safetensors opens weights by their path, and a confined child can open only paths in its folder.
    """
    with _draft(scratch) as copy:
        with open_file(source) as file, copy.open("wb") as sink:
            shutil.copyfileobj(file, sink, PIECE_BYTES)
        yield copy


@contextmanager
def _draft(scratch: Path) -> Iterator[Path]:
    """An empty file in the scratch folder, which is deleted when the block ends.

    The file of a killed child is deleted by the next sweep of the folder.
    """
    scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, name = tempfile.mkstemp(dir=scratch, prefix="incoming-")
    os.close(descriptor)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)
