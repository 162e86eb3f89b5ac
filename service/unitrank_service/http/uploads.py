"""The body of a PUT: bytes that stream into the blob store, or a JSON object with a URI.

The bytes are hashed while they stream. An upload is stored completely or not at all.
"""

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
    """Yield a writer that holds the whole body. It is stored at the block's end, unless it fails.

    `kind`: `model` or `dataset`.
    `quota_left`: returns the bytes that the operator's quota has left, or None without a quota.
    Raises HttpProblem if the body is empty, or exceeds `limit` bytes or the quota.
    """
    bytes_left = await run_in_threadpool(quota_left)
    too_large = HttpProblem(f"{kind}_too_large", f"the {kind} is too large; at most {limit} bytes are allowed")
    if bytes_left is not None and bytes_left < limit:
        detail = f"the {kind} does not fit; {bytes_left} bytes of the quota are left: delete models or datasets first"
        limit, too_large = bytes_left, HttpProblem("store_full", detail, RETRY)
    async with contextmanager_in_threadpool(blobs.writer()) as writer:
        async for chunk in _pieces(bounded(request, limit, too_large)):
            await run_in_threadpool(writer.write, chunk)
        if writer.size == 0:
            raise InvalidBody([Invalid(pointer="", detail=f"the body is empty; send the bytes of a {kind}", code="empty_body")])
        metrics.uploaded(kind, writer.size)
        yield writer


def body_is_bytes(request: Request) -> bool:
    """Whether the body is the bytes themselves (True) or a JSON object with their URI (False).

    Raises HttpProblem for any other Content-Type.
    """
    kind = content_type(request)
    if kind in (BYTES, "application/json"):
        return kind == BYTES
    detail = f"Content-Type {kind!r} is not supported; use {BYTES!r}, or 'application/json' for a URI"
    raise HttpProblem("unsupported_media_type", detail)


async def uri_of_body(request: Request, sources: Sources, *, several: bool) -> str:
    """Return the URI of a body `{"uri": …}`. `several`: whether a glob of several files is allowed.

    Raises InvalidBody if the body is invalid or the operator does not allow the URI.
    """
    await check_json(request)
    document: Any = await request.json()
    try:
        uri = Location.model_validate(document).uri
    except ValidationError as error:
        errors = [{**dict(entry), "loc": ("body", *entry["loc"])} for entry in error.errors()]
        raise InvalidBody(invalid_places(errors, document, Location)) from error
    try:
        sources.check(uri, several=several)
    except BadSource as error:
        raise InvalidBody([Invalid(pointer="/uri", detail=error.detail, code=error.code)]) from error
    return uri


async def _pieces(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in pieces of about 1 MiB, because each piece costs a switch to a thread."""
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
