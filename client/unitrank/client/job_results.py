"""Fetches the result of a job, which ranks one layer or several."""

import tempfile
from pathlib import Path

from unitrank.client.endpoints import NPZ, Calls
from unitrank.client.http.operations import Flow, work
from unitrank.errors import NotPossible
from unitrank.results import JobResult, job_result, read_npz
from unitrank_schemas.class_names import shows_classes
from unitrank_schemas.results import LayeredResult, Result


def fetch_result(calls: Calls, id: str) -> Flow[JobResult]:
    """The summary and the arrays of a job that has succeeded."""
    summary = yield from calls.summary(id)
    with tempfile.TemporaryDirectory(prefix="unitrank-") as folder:
        file = Path(folder, "arrays.npz")
        yield from calls.download(id, NPZ, file)
        arrays = yield from work(lambda: read_npz(file))
    return job_result(summary, arrays, (yield from calls.class_names(id)) if shows_classes(summary) else {})


def one_layer(summary: Result | LayeredResult) -> Result:
    """The summary of one layer. Raises NotPossible for a summary of several layers."""
    if isinstance(summary, LayeredResult):
        names = ", ".join(map(repr, summary.parts()))
        detail = f"the job has {len(summary.layers)} layers, so give `layer` (one of {names}), or use `layered_summary`"
        raise NotPossible(detail, code="layer_missing")
    return summary


def several_layers(summary: Result | LayeredResult) -> LayeredResult:
    """The summary of a list of layers. Raises NotPossible for that of one layer."""
    if isinstance(summary, Result):
        raise NotPossible(
            f"the job ranks one layer ({summary.layer.name!r}), not a list of layers; use `summary`", code="not_layered"
        )
    return summary
