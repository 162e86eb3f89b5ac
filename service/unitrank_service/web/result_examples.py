"""The examples of a result on its pages, and the first rows of a dataset."""

from collections.abc import Mapping
from typing import Any

from unitrank_schemas.class_names import OF_CLASSES
from unitrank_service.backend import Backend
from unitrank_service.contents.images import image_field
from unitrank_service.results.stored_result import StoredResult
from unitrank_service.web.examples import RowReader, RowViews
from unitrank_store.contents.datasets import DatasetRecord
from unitrank_store.jobs.record import JobRecord

Json = dict[str, Any]

SHOWN = 12
"""Examples of a cluster on one page."""
PREVIEWED = 8
"""Rows of a dataset on its page."""
LAYERS = 12
"""Rankings that can be drawn over the images."""
COLOURS = ("#b2182b", "#0a4f9c", "#007a5a", "#946200", "#a8447c", "#4b2e83")
"""The colours of the rankings over the images, until the reader chooses others."""


def class_names(record: JobRecord, digest: str, backend: Backend) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Return the names of the explained classes, and those of the clusters.

    Clusters have the names of classes if they were made by label or prediction.
    """
    names = backend.class_names.of(record.request, digest, backend.datasets)
    by = (record.request.get("clusters") or {}).get("by")
    return names, names if by in OF_CLASSES else {}


def reader(record: JobRecord, digest: str, classes: Mapping[str, str]) -> RowReader:
    """Return the reader of the rows of a job's dataset. `classes`: label → its name."""
    request = record.request
    dataset = request["dataset"]
    name = dataset.partition("@")[0] if isinstance(dataset, str) else None
    return RowReader(name, digest, list((request.get("inputs") or {}).values()), request.get("labels"), classes)


def gallery(record: JobRecord, values: Json, first: int, names: Mapping[str, str], backend: Backend) -> Json:
    """The values of the tab Examples: some examples of a cluster, with their number in the cluster.

    `values`: those of the tab. `first`: number of the first example that is shown.
    """
    cluster, ranking = values["first_cluster"], values["first_ranking"]
    stored = StoredResult(record, backend.results, backend.jobs.result_ttl).of_layer(values["layer"] or None)
    with stored.array_file() as arrays:
        count = arrays.arrays[f"rows/{cluster}"].elements
        first = min(first, max(0, count - 1) // SHOWN * SHOWN)
        rows = arrays.read(f"rows/{cluster}", first, min(first + SHOWN, count)).tolist()
        kept = next(
            (
                arrays.arrays[name].shape[0]
                for kind in ("heatmap_examples", "examples")
                if (name := f"{kind}/{ranking}/{cluster}") in arrays.arrays
            ),
            0,
        )
        has_maps = len(values["shape"]) > 1 or f"heatmap/{ranking}" in arrays.arrays
    views = reader(record, values["dataset_digest"], names).read(rows, backend.datasets, backend.blobs)
    return {
        "examples": [{"view": views[row], "number": first + at, "own": first + at < kept} for at, row in enumerate(rows)],
        "example_count": count,
        "first": first,
        "shown": SHOWN,
        "kept": kept,
        "missing": views.missing,
        "has_maps": has_maps,
        "layers": [
            (id, COLOURS[number % len(COLOURS)], id == ranking)
            for number, id in enumerate([ranking, *(id for id in values["rankings"] if id != ranking)][:LAYERS])
        ],
    }


def preview_of(record: DatasetRecord, name: str, backend: Backend) -> RowViews:
    """The first rows of a dataset. `name`: as the page's address has it."""
    fields = record.fields or {}
    labels = "y" if fields.get("y", {"shape": []})["shape"] == [None] else None
    numeric = [field for field, info in fields.items() if info["dtype"] != "str" and field != labels]
    image = image_field(fields)
    order = [image] if image else numeric
    rows = range(min(PREVIEWED, record.examples or 0))
    return RowReader(name.partition("@")[0], record.digest, order, labels, {}).read(rows, backend.datasets, backend.blobs)
