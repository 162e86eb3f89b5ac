"""The HTTP response with the result of a job, in the media type that the client prefers."""

import hashlib
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import ExitStack

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from unitrank_service.http.responses import client_has
from unitrank_service.results.formats import CSV, JSON, NPZ, SAFETENSORS, csv_rows, negotiated, npz_bytes
from unitrank_service.results.layers.narrowed_layers import narrowed_layers
from unitrank_service.results.outline import Outline
from unitrank_service.results.stored_result import StoredResult
from unitrank_service.results.summary import Selection, narrowed
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.results.result_store import ResultStore


async def result_response(
    request: Request, id: str, accept: str, selection: Selection, *, jobs: JobStore, results: ResultStore, threads: CapacityLimiter
) -> Response:
    """Return the selected part of the result of the job `id`. `accept`: value of the header.

    `threads`: the threads that encode results. They are few, because each of them delays the event
    loop, and thus all other requests.
    Raises HttpProblem where the job has no result, where no type is acceptable, or where a selected
    name is not in the result.
    """
    kind = negotiated(accept)
    stored = await run_sync(lambda: StoredResult(jobs.get(id), results, jobs.result_ttl), limiter=threads)
    headers = _headers(id, kind, selection)
    # A result never changes, so its tag need not depend on its bytes.
    if client_has(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    # The first chunk is encoded before the answer begins, so that an error becomes a problem.
    first, others = await run_sync(lambda: _begun(_CHUNKS[kind](stored, selection)), limiter=threads)
    return StreamingResponse(_in_threads(first, others, threads), media_type=kind, headers=headers)


def _headers(id: str, kind: str, selection: Selection) -> dict[str, str]:
    vary = {"Vary": "Accept"}
    if kind in (JSON, CSV):
        part = hashlib.sha256(repr(selection).encode()).hexdigest()[:16]
        cached = {"Cache-Control": "private, no-cache"} if kind == JSON else {}
        return {"ETag": f'"{id}.{kind.rpartition("/")[2]}.{part}"', **vary, **cached}
    suffix = {SAFETENSORS: "safetensors", NPZ: "npz"}[kind]
    return {"ETag": f'"{id}.{suffix}"', **vary, "Content-Disposition": f'attachment; filename="{id}.{suffix}"'}


def _begun(chunks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    return next(chunks, b""), chunks


async def _in_threads(first: bytes, others: Iterator[bytes], threads: CapacityLimiter) -> AsyncIterator[bytes]:
    try:
        yield first
        while (chunk := await run_sync(next, others, None, limiter=threads)) is not None:
            yield chunk
    finally:
        # The client may leave early. Its files are then closed here, not by the garbage collector.
        if isinstance(others, Generator):
            others.close()


def _json(stored: StoredResult, selection: Selection) -> Iterator[bytes]:
    chosen = stored.of_layer(selection.layer) if selection.layer is not None else stored
    if not selection.narrows:
        yield from chosen.summary_bytes()
    elif chosen.parts and chosen.layer is None:
        yield from narrowed_layers(chosen, selection)
    else:
        with ExitStack() as files:
            file = files.enter_context(chosen.summary_file())
            outline = Outline.of(file)
            selection.check(outline.summary)
            arrays = files.enter_context(chosen.array_file()) if selection.needs_arrays(outline) else None
            yield from narrowed(outline, file, selection, arrays)


def _csv(stored: StoredResult, selection: Selection) -> Iterator[bytes]:
    chosen = stored.of_layer(selection.layer) if selection.layer is not None else stored
    with chosen.summary_file() as file:
        summary = Outline.of(file).summary
    selection.check(summary)
    with chosen.array_file() as arrays:
        yield from csv_rows(summary, selection, arrays)


def _npz(stored: StoredResult, selection: Selection) -> Iterator[bytes]:
    return npz_bytes(stored.array_file(), stored.scratch_file())


def _safetensors(stored: StoredResult, selection: Selection) -> Iterator[bytes]:
    return stored.safetensors()


_CHUNKS: dict[str, Callable[[StoredResult, Selection], Iterator[bytes]]] = {
    JSON: _json,
    CSV: _csv,
    NPZ: _npz,
    SAFETENSORS: _safetensors,
}
"""Media type → the function that encodes a result, chunk by chunk."""
