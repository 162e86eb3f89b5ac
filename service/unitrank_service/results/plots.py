"""Plots of a result over HTTP, and where it is wanted the input behind a heatmap."""

import hashlib
from typing import Any

import numpy as np
from fastapi import Request, Response
from numpy.typing import NDArray

import unitrank_plots
from unitrank_plots.choice import Arrays, cluster_of
from unitrank_schemas.models import Manifest
from unitrank_schemas.results import Result
from unitrank_service.backend import Backend
from unitrank_service.errors import HttpProblem
from unitrank_service.http.responses import known
from unitrank_service.results.result_response import StoredResult
from unitrank_store.errors import RecordNotFound
from unitrank_store.jobs.record import JobRecord
from unitrank_tables import open_table

TYPES = {"png": "image/png", "svg": "image/svg+xml"}
# Whoever opens a picture by itself, nothing in it runs or is fetched.
HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'", "X-Content-Type-Options": "nosniff"}
MOST_AVERAGED = 100
"""Inputs of a cluster that are drawn behind its heatmap, their mean."""


def picture(
    request: Request, backend: Backend, id: str, name: str, form: str, choice: unitrank_plots.Choice, overlay: bool
) -> Response:
    """Raises HttpProblem where there is no result, or no such picture of it."""
    record = backend.jobs.get(id)
    stored = StoredResult(backend, record)
    tag = f'"{id}.{hashlib.sha256(repr((name, form, choice, overlay)).encode()).hexdigest()[:24]}"'
    if known(request, tag):
        return Response(status_code=304, headers={"ETag": tag})
    result, arrays = Result.model_validate(stored.summary()), stored.arrays()
    # matplotlib is loaded when the first picture is wanted
    from unitrank_plots.figures import draw, rendered

    try:
        if overlay:
            choice = _over_input(backend, record, result, arrays, choice)
        drawn = draw(name, result, arrays, choice)
    except unitrank_plots.NoPicture as error:
        raise HttpProblem(error.code, error.detail) from error
    return Response(rendered(drawn, form), headers={**HEADERS, "ETag": tag}, media_type=TYPES[form])


def _over_input(
    backend: Backend, record: JobRecord, result: Result, arrays: Arrays, choice: unitrank_plots.Choice
) -> unitrank_plots.Choice:
    """The choice with the input as a grey image behind it. Raises NoPicture where that is none, or gone."""
    _, cluster = cluster_of(result, choice)
    rows = arrays[f"rows/{cluster.name}"]
    rows = rows[:MOST_AVERAGED] if choice.example is None else rows[choice.example : choice.example + 1]
    try:
        path = backend.blobs.path(result.dataset.digest)
    except RecordNotFound as error:
        raise unitrank_plots.NoPicture("dataset_not_found", "the dataset was deleted; leave `overlay` out") from error
    with open_table(path) as table:
        inputs = (record.request["inputs"] or {}).items()
        found = next(((name, field) for name, field in inputs if len(table.fields[field]["shape"]) in (3, 4)), None)
        if found is None:
            raise unitrank_plots.NoPicture("no_image", "no input of the model is an image; leave `overlay` out")
        name, field = found
        image = _grey(table.read(field, rows), _colours(backend, result, name))
        return unitrank_plots.Choice(choice.cluster, choice.ranking, choice.channel, choice.example, image)


def _colours(backend: Backend, result: Result, name: str) -> int:
    """The axis of an input that counts its colours, as the model's layers say; the first where the model is gone."""
    if result.layer.name in ("input", f"input:{name}") and result.layer.channel_axis is not None:
        return result.layer.channel_axis
    try:
        found = backend.models.content(result.model.digest).manifest
    except RecordNotFound:
        found = None
    layers = Manifest.model_validate(found).layers if found else []
    return next((layer.channel_axis for layer in layers if layer.name in ("input", f"input:{name}")), 0)


def _grey(images: NDArray[Any], colours: int) -> NDArray[np.float64]:
    """The mean image, of colours too where it has them."""
    found = images.astype(np.float64).mean(0)
    return np.asarray(found.mean(colours) if found.ndim == 3 else found)
