"""One job in short: its state in words, its layers, and its progress."""

from collections.abc import Sequence
from typing import Any

from unitrank_store.jobs.record import JobRecord

Json = dict[str, Any]

STATES = {
    "queued": "waiting",
    "running": "running",
    "cancelling": "stopping",
    "succeeded": "succeeded",
    "failed": "failed",
    "cancelled": "cancelled",
    "timed_out": "timed out",
}
MOST_NAMED = 3
"""Layers in the title of a job."""


def job_line(record: JobRecord) -> Json:
    """The values of a job's row in the list."""
    request = record.request
    dataset = request["dataset"]
    layers = request["layer"] if isinstance(request["layer"], list) else [request["layer"]]
    methods = [
        entry["name"] + (f" ({entry['statistic']})" if entry.get("statistic", "mean") != "mean" else "")
        for entry in request["methods"]
    ]
    return {
        "id": record.id,
        "status": record.status,
        "state": STATES[record.status],
        "ended": record.ended,
        "model": request["model"],
        "dataset": dataset if isinstance(dataset, str) else None,
        "layer": layers_in_words(layers),
        "layers": layers,
        "joint": bool(request.get("joint")),
        "methods": methods,
        "created_at": record.created_at,
        "seconds": (record.finished_at - record.started_at) if record.finished_at and record.started_at else None,
        "percent": percent(record.progress) if record.status == "running" else None,
        "problem": (record.problem or {}).get("title"),
    }


def title_without_name(layers: Sequence[str], model: str) -> str:
    """The title of a job that has no name.

    >>> title_without_name(["conv1", "fc"], "mnist@sha256:0f")
    'Layers conv1, fc of mnist'
    """
    return f"{'Layers' if len(layers) > 1 else 'Layer'} {layers_in_words(layers)} of {model.partition('@')[0]}"


def layers_in_words(layers: Sequence[str]) -> str:
    """The names of a job's layers, in short for many.

    >>> layers_in_words(["a", "b"]), layers_in_words(["a", "b", "c", "d", "e"])
    ('a, b', 'a, b, c and 2 more')
    """
    more = len(layers) - MOST_NAMED
    return ", ".join(layers[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def percent(progress: Json | None) -> int | None:
    """The share of the work that is done, in percent; None if it is unknown."""
    return min(100, 100 * progress["done"] // progress["total"]) if progress and progress["total"] else None
