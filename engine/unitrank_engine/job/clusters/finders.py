"""Clusters: which rows of the dataset are attributed together."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from unitrank_engine.errors import EngineError
from unitrank_engine.job.clusters.forward import Forward
from unitrank_engine.job.clusters.kmeans import partition, reads
from unitrank_engine.job.random_streams import RandomStreams
from unitrank_schemas.jobs import JobRequest
from unitrank_schemas.jobs import clusters as schema
from unitrank_tables import Table


@dataclass(frozen=True)
class ClusterRows:
    """A named set of dataset rows, each once."""

    name: str
    rows: np.ndarray


def find_clusters(request: JobRequest, table: Table, forward: Forward, streams: RandomStreams) -> list[ClusterRows]:
    """The job's clusters in the order of their values, or as the request names them.

    Raises EngineError `empty_cluster`, `too_many_clusters` or `too_few_examples`.
    """
    named_rows = FINDERS[type(request.clusters)](request, table, forward, streams)
    limit = request.clusters.limit
    clusters = [ClusterRows(name, _limited(rows, limit, streams, name)) for name, rows in named_rows]
    if not clusters or any(len(cluster.rows) == 0 for cluster in clusters):
        raise EngineError("empty_cluster", "a cluster has no examples; leave it out or give it some")
    if len(clusters) > 10_000:
        raise EngineError("too_many_clusters", f"{len(clusters)} clusters; at most 10000 can be ranked in one job")
    return clusters


def _limited(rows: np.ndarray, limit: int | None, streams: RandomStreams, name: str) -> np.ndarray:
    if limit is None or len(rows) <= limit:
        return rows
    return np.sort(streams.generator("limit", name).permutation(rows)[:limit])


NamedRows = list[tuple[str, np.ndarray]]


def _all(request: JobRequest, table: Table, forward: Forward, streams: RandomStreams) -> NamedRows:
    return [("all", np.arange(table.examples))]


def _by_label(request: JobRequest, table: Table, forward: Forward, streams: RandomStreams) -> NamedRows:
    assert request.labels is not None
    return _by_value(table.read(request.labels, slice(None)))


def _by_prediction(request: JobRequest, table: Table, forward: Forward, streams: RandomStreams) -> NamedRows:
    return _by_value(forward.classes(np.arange(table.examples)))


def _by_field(request: JobRequest, table: Table, forward: Forward, streams: RandomStreams) -> NamedRows:
    assert isinstance(request.clusters, schema.ByField)
    return _by_value(table.read(request.clusters.field, slice(None)))


def _members(request: JobRequest, table: Table, forward: Forward, streams: RandomStreams) -> NamedRows:
    assert isinstance(request.clusters, schema.Members)
    return [(name, np.unique(np.array(rows, dtype=np.int64))) for name, rows in request.clusters.members.items()]


def _kmeans(request: JobRequest, table: Table, forward: Forward, streams: RandomStreams) -> NamedRows:
    clusters, count = request.clusters, table.examples
    assert isinstance(clusters, schema.KMeans)
    if clusters.k > count:
        raise EngineError("too_few_examples", f"{clusters.k} clusters of a dataset with {count} examples; k can be at most that")
    units = forward.program.place(clusters.layer, "output").units
    values = forward.at(clusters.layer, reads(count, clusters.k, units))
    groups = partition(count, clusters.k, units, values.of, streams.generator("kmeans"))
    return [(str(index), rows) for index, rows in enumerate(groups)]


def _by_value(values: np.ndarray) -> NamedRows:
    if values.ndim != 1:
        raise EngineError("wrong_shape", f"clusters need one value an example, got a field of shape {list(values.shape)}")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise EngineError("non_finite", "the field that names the clusters is NaN or infinite in some rows")
    distinct, which = np.unique(values, return_inverse=True)
    order = np.argsort(which, kind="stable")
    groups = np.split(order, np.cumsum(np.bincount(which))[:-1])
    return [(_name(value), rows) for value, rows in zip(distinct.tolist(), groups, strict=True)]


def _name(value: Any) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


FINDERS: dict[type, Callable[[JobRequest, Table, Forward, RandomStreams], NamedRows]] = {
    schema.All: _all,
    schema.ByLabel: _by_label,
    schema.ByPrediction: _by_prediction,
    schema.ByField: _by_field,
    schema.Members: _members,
    schema.KMeans: _kmeans,
}
