"""Finds the clusters of a job: the rows of the dataset that are ranked together."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from unitrank_engine.errors import EngineError
from unitrank_engine.job.clusters.forward import Forward
from unitrank_engine.job.clusters.hashed_order import MOST_PERMUTED, HashedOrder
from unitrank_engine.job.clusters.kmeans import partition, reads
from unitrank_engine.job.random_streams import RandomStreams
from unitrank_schemas.jobs import JobRequest
from unitrank_schemas.jobs import clusters as schema
from unitrank_tables import Table

MAX_CLUSTERS = 10_000


@dataclass(frozen=True)
class ClusterRows:
    """A cluster: its name, and its dataset rows, each once."""

    name: str
    rows: np.ndarray


def find_clusters(request: JobRequest, table: Table, forward: Forward, streams: RandomStreams) -> list[ClusterRows]:
    """The clusters of the job, in the order of their values or as the request lists them.

    `forward`: passes through the model, for clusters by prediction and by k-means.

    Raises EngineError `empty_cluster`, `too_many_clusters` or `too_few_examples`.
    """
    named_rows = FINDERS[type(request.clusters)](request, table, forward, streams)
    limit = request.clusters.limit
    clusters = [ClusterRows(name, _limited(rows, limit, streams, name)) for name, rows in named_rows]
    empty = [cluster.name for cluster in clusters if len(cluster.rows) == 0]
    if not clusters:
        raise EngineError("empty_cluster", "the dataset has no examples; a cluster needs at least one")
    if empty:
        name = empty[0]
        raise EngineError("empty_cluster", f"cluster {name!r} has no examples; each cluster needs at least one")
    count = len(clusters)
    if count > MAX_CLUSTERS:
        raise EngineError("too_many_clusters", f"the job has {count} clusters; at most {MAX_CLUSTERS} are accepted in one job")
    return clusters


def _limited(rows: np.ndarray, limit: int | None, streams: RandomStreams, name: str) -> np.ndarray:
    if limit is None or len(rows) <= limit:
        return rows
    generator = streams.generator("limit", name)
    if len(rows) > MOST_PERMUTED:
        return np.sort(rows[HashedOrder(generator).first(rows, limit)])
    return np.sort(generator.permutation(rows)[:limit])


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
        raise EngineError("too_few_examples", f"k is {clusters.k}, and the dataset has {count} examples; k can be at most {count}")
    units = forward.program.place(clusters.layer, "output").units
    values = forward.at(clusters.layer, reads(count, clusters.k, units))
    groups = partition(count, clusters.k, units, values.of, streams.generator("kmeans"), forward.map)
    return [(str(index), rows) for index, rows in enumerate(groups)]


def _by_value(values: np.ndarray) -> NamedRows:
    if values.ndim != 1:
        shape = list(values.shape)
        raise EngineError("wrong_shape", f"the field of the clusters has the shape {shape}; expected one value for each example")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values))[0])
        raise EngineError("non_finite", f"the field of the clusters is NaN or infinite in row {row}; its values must be finite")
    distinct, value_of_row = np.unique(values, return_inverse=True)
    order = np.argsort(value_of_row, kind="stable")
    groups = np.split(order, np.cumsum(np.bincount(value_of_row))[:-1])
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
