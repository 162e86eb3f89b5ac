"""Plots of a result over HTTP, and heatmaps over the input that they explain."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from fastapi import Request, Response
from numpy.typing import NDArray

import unitrank_plots
from unitrank_plots.choice import Arrays, cluster_of
from unitrank_schemas.models import Manifest
from unitrank_schemas.results import Result
from unitrank_service.errors import HttpProblem
from unitrank_service.http.responses import client_has
from unitrank_service.results.result_response import StoredResult
from unitrank_store.blobs.blob_store import BlobStore
from unitrank_store.contents.models import ModelStore
from unitrank_store.errors import RecordNotFound
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.jobs.record import JobRecord
from unitrank_store.results.result_store import ResultStore
from unitrank_tables import open_table

TYPES = {"png": "image/png", "svg": "image/svg+xml"}
# A browser that opens an SVG directly runs no script in it and loads nothing.
HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'", "X-Content-Type-Options": "nosniff"}
MOST_AVERAGED = 100
"""Number of a cluster's inputs whose mean is drawn behind the heatmap."""


@dataclass(frozen=True)
class PlotStores:
    """The stores that a plot reads. `blobs` and `models` are read only to draw the input."""

    jobs: JobStore
    results: ResultStore
    blobs: BlobStore
    models: ModelStore


def plot_response(
    request: Request, id: str, name: str, form: str, choice: unitrank_plots.Choice, overlay: bool, stores: PlotStores
) -> Response:
    """Return a plot of the result of the job `id`.

    `form`: `png` or `svg`. `overlay`: whether the heatmap is drawn over the input.
    Raises HttpProblem where the job has no result, or the result has no such plot.
    """
    record = stores.jobs.get(id)
    stored = StoredResult(record, stores.results, stores.jobs.result_ttl)
    tag = f'"{id}.{hashlib.sha256(repr((name, form, choice, overlay)).encode()).hexdigest()[:24]}"'
    if client_has(request, tag):
        return Response(status_code=304, headers={"ETag": tag})
    result, arrays = Result.model_validate(stored.summary()), stored.arrays()
    # matplotlib is loaded for the first plot only.
    from unitrank_plots.figures import draw, rendered

    try:
        if overlay:
            choice = _over_input(record, result, arrays, choice, stores)
        figure = draw(name, result, arrays, choice)
    except unitrank_plots.NoPicture as error:
        raise HttpProblem(error.code, error.detail) from error
    return Response(rendered(figure, form), headers={**HEADERS, "ETag": tag}, media_type=TYPES[form])


def _over_input(
    record: JobRecord, result: Result, arrays: Arrays, choice: unitrank_plots.Choice, stores: PlotStores
) -> unitrank_plots.Choice:
    """The choice with the input as a grey image behind the heatmap.

    Raises NoPicture where the dataset was deleted, or where no input is an image.
    """
    _, cluster = cluster_of(result, choice)
    rows = arrays[f"rows/{cluster.name}"]
    rows = rows[:MOST_AVERAGED] if choice.example is None else rows[choice.example : choice.example + 1]
    try:
        path = stores.blobs.path(result.dataset.digest)
    except RecordNotFound as error:
        detail = "the input cannot be drawn, because the dataset was deleted; leave `overlay` out"
        raise unitrank_plots.NoPicture("dataset_not_found", detail) from error
    with open_table(path) as table:
        inputs = (record.request["inputs"] or {}).items()
        image_input = next(((name, field) for name, field in inputs if len(table.fields[field]["shape"]) in (3, 4)), None)
        if image_input is None:
            raise unitrank_plots.NoPicture("no_image", "no input of the model is an image; leave `overlay` out")
        name, field = image_input
        image = _grey(table.read(field, rows), _colours(result, name, stores.models))
        return unitrank_plots.Choice(choice.cluster, choice.ranking, choice.channel, choice.example, image)


def _colours(result: Result, name: str, models: ModelStore) -> int:
    """The axis of an input that counts its colours, from the model's manifest.

    It is axis 0 where the model was deleted.
    """
    if result.layer.name in ("input", f"input:{name}") and result.layer.channel_axis is not None:
        return result.layer.channel_axis
    try:
        manifest = models.content(result.model.digest).manifest
    except RecordNotFound:
        manifest = None
    layers = Manifest.model_validate(manifest).layers if manifest else []
    return next((layer.channel_axis for layer in layers if layer.name in ("input", f"input:{name}")), 0)


def _grey(images: NDArray[Any], colours: int) -> NDArray[np.float64]:
    """The mean of the images, over the axis `colours` too where the images have colours."""
    mean = images.astype(np.float64).mean(0)
    return np.asarray(mean.mean(colours) if mean.ndim == 3 else mean)
