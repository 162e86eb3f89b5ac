"""What a PUT brings: bytes on their way to the blob store, hashed while they stream and kept whole or not at all, or a URI."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Request
from fastapi.concurrency import contextmanager_in_threadpool
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from unitrank_schemas.models import Location
from unitrank_schemas.problems import Invalid
from unitrank_schemas.validation import invalid_places
from unitrank_service.errors import HttpProblem, InvalidBody
from unitrank_service.http.requests import bounded, check_json, content_type
from unitrank_service.observability.metrics import Metrics
from unitrank_store.blobs.blob_store import BlobStore, BlobWriter
from unitrank_store.blobs.sources import Sources
from unitrank_store.errors import BadSource
from unitrank_tables.sizes import MiB

RETRY = {"Retry-After": "60"}
BYTES = "application/octet-stream"


@asynccontextmanager
async def uploaded(
    request: Request, limit: int, kind: str, *, blobs: BlobStore, quota_left: Callable[[], int | None], metrics: Metrics
) -> AsyncIterator[BlobWriter]:
    """The body in the blob store once the block ends; when the block raises, nothing is left. `kind`: `model` or `dataset`.

    Raises HttpProblem where the body has more bytes than `limit`, or than the operator's quota has left.
    """
    room = await run_in_threadpool(quota_left)
    too_large = HttpProblem(f"{kind}_too_large", f"the body has more than the {limit} bytes that are allowed")
    if room is not None and room < limit:
        limit, too_large = room, HttpProblem("store_full", f"{room} bytes of the quota are left; delete what is not needed", RETRY)
    async with contextmanager_in_threadpool(blobs.writer()) as writer:
        async for chunk in _pieces(bounded(request, limit, too_large)):
            await run_in_threadpool(writer.write, chunk)
        if writer.size == 0:
            raise InvalidBody([Invalid(pointer="", detail=f"the body is empty; expected the bytes of a {kind}", code="empty_body")])
        metrics.uploaded(kind, writer.size)
        yield writer


def check_bytes(request: Request) -> bool:
    """Whether the body is bytes (True) or a JSON object that says where they are. Raises HttpProblem for anything else."""
    kind = content_type(request)
    if kind in (BYTES, "application/json"):
        return kind == BYTES
    raise HttpProblem("unsupported_media_type", f"Content-Type {kind!r} is not read here; use {BYTES!r}")


async def located(request: Request, sources: Sources, *, several: bool) -> str:
    """The URI of a body `{"uri": …}`, which the operator lets the service read. Raises InvalidBody."""
    await check_json(request)
    document: Any = await request.json()
    try:
        uri = Location.model_validate(document).uri
    except ValidationError as error:
        loose = [{**dict(entry), "loc": ("body", *entry["loc"])} for entry in error.errors()]
        raise InvalidBody(invalid_places(loose, document, Location)) from error
    try:
        sources.check(uri, several=several)
    except BadSource as error:
        raise InvalidBody([Invalid(pointer="/uri", detail=error.detail, code=error.code)]) from error
    return uri


async def _pieces(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in pieces of about 1 MiB: each costs a hop to a thread."""
    piece: list[bytes] = []
    size = 0
    async for chunk in chunks:
        piece.append(chunk)
        size += len(chunk)
        if size >= MiB:
            yield b"".join(piece)
            piece, size = [], 0
    if piece:
        yield b"".join(piece)
