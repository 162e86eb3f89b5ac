"""Bytes on their way from a request to the blob store: hashed while they stream, kept whole or not at all."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request
from fastapi.concurrency import contextmanager_in_threadpool
from starlette.concurrency import run_in_threadpool

from api_schemas.problems import Invalid
from service.backend import Backend
from service.errors import Refused, RefusedBody
from service.requests import bounded, content_type
from store.blobs import Writer
from store.settings import MiB

BYTES = "application/octet-stream"


@asynccontextmanager
async def uploaded(request: Request, backend: Backend, limit: int, kind: str) -> AsyncIterator[Writer]:
    """The body in the blob store once the block ends; when it raises, nothing is left. `kind`: `model` or `dataset`."""
    async with contextmanager_in_threadpool(backend.blobs.writer()) as writer:
        async for chunk in _pieces(bounded(request, limit, f"{kind}_too_large")):
            await run_in_threadpool(writer.write, chunk)
        if writer.size == 0:
            raise RefusedBody([Invalid(pointer="", detail=f"the body is empty; expected the bytes of a {kind}", code="empty_body")])
        yield writer


def check_bytes(request: Request) -> bool:
    """Whether the body is bytes (True) or a JSON object that says where they are. Raises Refused for anything else."""
    kind = content_type(request)
    if kind in (BYTES, "application/json"):
        return kind == BYTES
    raise Refused("unsupported_media_type", f"Content-Type {kind!r} is not read here; use {BYTES!r}")


async def _pieces(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in pieces of about 1 MiB: each costs a hop to a thread."""
    held: list[bytes] = []
    size = 0
    async for chunk in chunks:
        held.append(chunk)
        size += len(chunk)
        if size >= MiB:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)
