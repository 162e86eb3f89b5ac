"""Plots and reports of a result over HTTP, and heatmaps over the input that they explain."""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any, TypeVar

import numpy as np
from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import Request, Response

import unitrank_plots
from unitrank_schemas.base import Json
from unitrank_schemas.models import Manifest
from unitrank_service.contents.class_names import ClassNames
from unitrank_service.errors import HttpProblem
from unitrank_service.http.responses import client_has
from unitrank_service.results.drawing import DrawingProcess, DrawingTooSlow, plot
from unitrank_service.results.layers.local_arrays import LocalArrays
from unitrank_service.results.outline import Outline
from unitrank_service.results.report import report
from unitrank_service.results.stored_result import StoredResult
from unitrank_service.results.summary import Selection
from unitrank_store.blobs.blob_store import BlobStore
from unitrank_store.contents.datasets import DatasetStore
from unitrank_store.contents.models import ModelStore
from unitrank_store.errors import BadSource, RecordNotFound
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.jobs.record import JobRecord
from unitrank_store.results.result_store import ResultStore
from unitrank_tables.sharded.table import ShardedTable

T = TypeVar("T")

TYPES = {"png": "image/png", "svg": "image/svg+xml", "json": "application/json"}
# A browser that opens an SVG directly runs no script in it and loads nothing.
HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'", "X-Content-Type-Options": "nosniff"}
MOST_AVERAGED = 100
"""Number of a cluster's inputs whose mean is drawn behind the heatmap."""
BLOCK = 10
"""Number of inputs that are in memory at the same time."""


REPORT_HEADERS = {
    # Nothing is loaded or run, no other page shows the report in a frame, and nothing can be sent.
    "Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}
"""Headers of the report, which shows names that clients chose."""


@dataclass(frozen=True)
class PlotStores:
    """The stores that a plot or a report reads, and the process that draws.

    `blobs` and `models` are read only to draw the input, and `datasets` only for `class_names`.
    `threads`: those that read results.
    """

    jobs: JobStore
    results: ResultStore
    blobs: BlobStore
    models: ModelStore
    datasets: DatasetStore
    class_names: ClassNames
    threads: CapacityLimiter
    drawing: DrawingProcess

    async def draw(self, owner: str, function: Callable[..., T], *arguments: Any) -> T:  # Any: those of the function
        """Return the function's value as `DrawingProcess.run` does.

        Raises HttpProblem where the result has no such plot, or where drawing takes too long.
        """
        try:
            return await self.drawing.run(owner, function, *arguments)
        except unitrank_plots.NoPicture as error:
            raise HttpProblem(error.code, error.detail) from error
        except DrawingTooSlow as error:
            detail = (
                f"this took more than {error.seconds:.0f} s and was stopped; ask for the plot of one cluster and one ranking, "
                "or draw it yourself from the arrays of the result"
            )
            raise HttpProblem("drawing_too_slow", detail) from error


async def plot_response(
    request: Request,
    id: str,
    name: str,
    form: str,
    choice: unitrank_plots.Choice,
    *,
    layer: str | None,
    overlay: bool,
    owner: str,
    stores: PlotStores,
) -> Response:
    """Return a plot of the result of the job `id`.

    `form`: a key of `TYPES`. `layer`: one of the result, or None for its first. `overlay`: whether
    the heatmap is drawn over the input. `owner`: id of the request's key.
    Raises HttpProblem where the job has no result, or the result has no such plot.
    """
    whole = name in unitrank_plots.LAYERED
    record, stored, classes = await run_sync(_stored, id, layer, stores, whole, limiter=stores.threads)
    choice = replace(choice, classes=classes)
    tag = f'"{id}.{hashlib.sha256(repr((name, form, choice, overlay, layer)).encode()).hexdigest()[:24]}"'
    if client_has(request, tag):
        return Response(status_code=304, headers={"ETag": tag})
    with ExitStack() as files:
        summary, arrays = await run_sync(_files, stored, files, limiter=stores.threads)
        if overlay and form != "json" and not whole:
            choice = await run_sync(_over_input, record, summary, arrays, choice, stores, limiter=stores.threads)
        image = await stores.draw(owner, plot, summary, arrays, name, form, choice)
    return Response(image, headers={**HEADERS, "ETag": tag}, media_type=TYPES[form])


async def report_response(id: str, layer: str | None, *, owner: str, stores: PlotStores) -> Response:
    """Return the report as HTML. `layer`: one of the result, or None for its first.

    `owner`: id of the request's key.

    Raises HttpProblem where the job has no result.
    """
    record, stored, classes = await run_sync(_stored, id, layer, stores, limiter=stores.threads)
    with ExitStack() as files:
        summary, arrays = await run_sync(_files, stored, files, limiter=stores.threads)
        layers = await run_sync(_layers, stored, limiter=stores.threads)
        page = await stores.draw(owner, report, summary, arrays, record, classes, layers)
    headers = {**REPORT_HEADERS, "Content-Disposition": f'inline; filename="{id}.html"'}
    return Response(page, headers=headers, media_type="text/html; charset=utf-8")


def _stored(
    id: str, layer: str | None, stores: PlotStores, whole: bool = False
) -> tuple[JobRecord, StoredResult, Mapping[str, str]]:
    """The result of a layer, or with `whole` that of all layers. Raises HttpProblem."""
    record = stores.jobs.get(id)
    stored = StoredResult(record, stores.results, stores.jobs.result_ttl)
    if whole and not stored.parts:
        raise HttpProblem("one_layer", "the job ranks one layer; post a job with a list of layers")
    of_layer = stored.of_layer(layer)
    return record, stored if whole else of_layer, stores.class_names.of_job(record, stores.datasets)


def _files(stored: StoredResult, files: ExitStack) -> tuple[bytes, LocalArrays]:
    return b"".join(stored.summary_bytes()), files.enter_context(stored.array_path())


def _layers(stored: StoredResult) -> bytes | None:
    """The summary of all layers; None for a result of one layer."""
    return b"".join(stored.whole.summary_bytes()) if stored.parts else None


def _over_input(
    record: JobRecord, summary: bytes, arrays: LocalArrays, choice: unitrank_plots.Choice, stores: PlotStores
) -> unitrank_plots.Choice:
    """The choice with the input as a grey image behind the heatmap.

    Raises HttpProblem where the dataset was deleted, or where no input is an image.
    """
    # The whole summary would hold Python's lock for too long, see JsonPieces.
    about = Outline.of(BytesIO(summary)).summary
    cluster = next(iter(Selection(choice.cluster).clusters(about)))
    with arrays.open() as file:
        rows = np.array(file.mapped()[f"rows/{cluster}"])
    rows = rows[:MOST_AVERAGED] if choice.example is None else rows[choice.example : choice.example + 1]
    if not len(rows):
        # The process that draws names the examples that exist.
        return choice
    try:
        table = stores.blobs.open_table(about["dataset"]["digest"])
    except RecordNotFound as error:
        detail = "the input cannot be drawn, because the dataset was deleted; leave `overlay` out"
        raise HttpProblem("dataset_not_found", detail) from error
    if isinstance(table, ShardedTable) and table.is_parquet:
        # Decoding Parquet is native code, which only the confined processes of workers run.
        raise HttpProblem("no_image", "the service does not decode Parquet files; leave `overlay` out")
    with table:
        inputs = (record.request["inputs"] or {}).items()
        image_input = next(((name, field) for name, field in inputs if len(table.fields[field]["shape"]) in (3, 4)), None)
        if image_input is None:
            raise HttpProblem("no_image", "no input of the model is an image; leave `overlay` out")
        name, field = image_input
        blocks = (table.read(field, rows[start : start + BLOCK]) for start in range(0, len(rows), BLOCK))
        try:
            mean = sum((block.sum(0, dtype=np.float64) for block in blocks), np.zeros(())) / len(rows)
        except BadSource as error:
            raise HttpProblem("dataset_not_found", f"the input cannot be drawn: {error.detail}; or leave `overlay` out") from error
        image = np.asarray(mean.mean(_colours(about, name, stores.models)) if mean.ndim == 3 else mean)
        return replace(choice, background=image)


def _colours(about: Json, name: str, models: ModelStore) -> int:
    """The axis of an input that counts its colours, from the model's manifest.

    It is axis 0 where the model was deleted.
    """
    layer = about["layer"]
    if layer["name"] in ("input", f"input:{name}") and layer.get("channel_axis") is not None:
        return int(layer["channel_axis"])
    try:
        manifest = models.content(about["model"]["digest"]).manifest
    except RecordNotFound:
        manifest = None
    layers = Manifest.model_validate(manifest, extra="ignore").layers if manifest else []
    return next((layer.channel_axis or 0 for layer in layers if layer.name in ("input", f"input:{name}")), 0)
