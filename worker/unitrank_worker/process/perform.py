"""Runs one job or inspection in the child: calls the engine, and sends messages to the parent."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import structlog
from pydantic import ValidationError

from unitrank_engine.errors import Cancelled, EngineError
from unitrank_schemas.base import Json
from unitrank_schemas.jobs import JobRequest
from unitrank_tables import ChunkDigests
from unitrank_tables.files import open_file
from unitrank_tables.part import Part, decode_part, encode_part
from unitrank_tables.result_arrays import encode_arrays
from unitrank_worker.engine import Assignment, Engine, Upload
from unitrank_worker.failures import ending, is_unexpected, spoils_process
from unitrank_worker.problem import WORKER_TOO_OLD
from unitrank_worker.process.channel import Channel, Message

log = structlog.get_logger()

REPORT_SECONDS = 0.2
"""Shortest time between two messages with progress, in seconds."""
PIECE_BYTES = 1 << 20


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
            (log.error if unexpected else log.info)("failed", exc_info=unexpected)
        finally:
            order.close()
        channel.send({"end": status, "problem": problem, "warm": warm_models(engine), "leaving": spoiled})
    return not spoiled


def warm_models(engine: Engine) -> list[Json]:
    """The models in the engine's memory, as the list of a message."""
    return [{"digest": model.digest, "name": model.name} for model in engine.warm()]


def _run_job(order: Message, channel: Channel, engine: Engine, scratch: Path) -> None:
    content = order.content
    report = Reporter(channel)
    report.raise_if_stopped()
    table, *others = order.paths()
    further = content.get("further", [])
    chunks = [ChunkDigests.from_json(digests) for digests in content.get("digests") or []]
    archive = others[len(further) :]
    assignment = Assignment(
        id=content["id"],
        request=_request_of(content["request"]),
        resolved=content["resolved"],
        table=table,
        archive=archive[0] if archive else None,
        digests=chunks[0] if chunks else None,
        further={
            reference: (path, chunks[index] if chunks else None)
            for index, (reference, path) in enumerate(zip(further, others, strict=False), start=1)
        },
        manifest=content["manifest"],
        parts=ParentParts(channel),
        span=lambda stage: _span(channel, stage),
    )
    since = time.monotonic()
    summary, arrays = engine.run(assignment, report)
    seconds = time.monotonic() - since
    channel.send({"result": summary, "progress": report.last, "seconds": seconds}, encode_arrays(arrays))


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


class Reporter:
    """Sends progress to the parent a few times a second.

    Raises Cancelled if the parent sent a stop.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._next = time.monotonic() + REPORT_SECONDS
        self.last: Json | None = None

    def __call__(self, progress: Json) -> None:
        self.last = progress
        self.raise_if_stopped()
        # A stage without a total can take long, so it is reported at once.
        if progress["total"] and time.monotonic() < self._next:
            return
        self._next = time.monotonic() + REPORT_SECONDS
        self._channel.send({"progress": progress})

    def raise_if_stopped(self) -> None:
        """Raises Cancelled if the parent has sent a stop."""
        message = self._channel.receive(0)
        if message is not None and "stop" in message.content:
            raise Cancelled("the parent stopped the job")


class ParentParts:
    """Parts of earlier jobs. The parent reads and writes them in the store."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def get(self, fingerprints: Sequence[str]) -> dict[str, Part]:
        """The parts that the store has. Raises Cancelled if the parent sends a stop instead."""
        if not fingerprints:
            return {}
        self._channel.send({"find_parts": list(fingerprints)})
        while (answer := self._channel.receive()) is None or "parts" not in answer.content:
            if answer is not None and "stop" in answer.content:
                raise Cancelled("the parent stopped the job")
        parts: dict[str, Part] = {}
        start = 0
        for fingerprint, size in answer.content["parts"]:
            part = decode_part(answer.payload[start : start + size])
            start += size
            if part is not None:
                parts[fingerprint] = part
        return parts

    def put(self, parts: Mapping[str, Part]) -> None:
        """Send parts to the parent, which keeps them for later jobs."""
        for fingerprint, part in parts.items():
            data = encode_part(part)
            if len(data) <= self._channel.payload_bytes:
                self._channel.send({"keep_part": fingerprint}, data)


@contextmanager
def _span(channel: Channel, stage: str) -> Iterator[None]:
    """Send the start and the end of the stage to the parent, in unix seconds, for its trace."""
    since = time.time()
    try:
        yield
    finally:
        channel.send({"span": stage, "since": since, "until": time.time()})


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
