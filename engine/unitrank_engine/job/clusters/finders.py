"""Finds the clusters of a job: the rows of the dataset that are ranked together."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unitrank_engine.errors import EngineError
from unitrank_engine.job.clusters.forward import Forward
from unitrank_engine.job.clusters.hashed_order import MOST_PERMUTED, HashedOrder, SeededOrder, blocks, nth
from unitrank_engine.job.clusters.kmeans import partition, reads
from unitrank_engine.job.clusters.rows import MOST_HELD, Rows
from unitrank_engine.job.clusters.slot_column import SlotColumn
from unitrank_engine.job.random_streams import RandomStreams
from unitrank_schemas.jobs import JobRequest
from unitrank_schemas.jobs import clusters as schema
from unitrank_tables import Table

MAX_CLUSTERS = 10_000
MOST_COUNTED = 1_000_000
"""Distinct values of a field, at most, that are counted for the error about too many clusters."""


@dataclass(frozen=True)
class ClusterRows:
    """A cluster: its name, and its dataset rows, ascending and each once."""

    name: str
    rows: Rows


@dataclass(frozen=True)
class LabelledRows:
    """Clusters that have every row of the dataset, each in one of them.

    `names`: of the clusters. `labels`: the number of each row's cluster, as small integers.
    """

    names: Sequence[str]
    labels: np.ndarray


NamedRows = list[tuple[str, np.ndarray]]
FoundRows = NamedRows | LabelledRows


@dataclass(frozen=True)
class JobClusters:
    """The clusters of a job.

    `column`: has the cluster of each row, where very many rows are in one each.
    """

    clusters: list[ClusterRows]
    column: SlotColumn | None = None


def find_rows(request: JobRequest, table: Table, forward: Forward, streams: RandomStreams) -> FoundRows:
    """The rows of the clusters, in the order of their values or as the request lists them.

    `forward`: passes through the model, for clusters by prediction and by k-means.

    Raises EngineError `too_few_examples`, `too_many_clusters`, `wrong_shape` and `non_finite`.
    """
    return FINDERS[type(request.clusters)](request, table, forward, streams)


def clusters_of(named_rows: FoundRows, limit: int | None, streams: RandomStreams) -> JobClusters:
    """The clusters with these rows. `limit`: largest number of rows of a cluster.

    Raises EngineError `empty_cluster` or `too_many_clusters`.
    """
    if isinstance(named_rows, LabelledRows) and len(named_rows.labels) > MOST_HELD:
        column = SlotColumn(named_rows.labels, clusters=len(named_rows.names))
        if limit is None or np.minimum(column.sizes, limit).sum() > MOST_HELD:
            return _of_column(column, named_rows.names, limit, streams)
        pairs: Iterable[tuple[str, Rows]] = _rows_of(column, named_rows.names)
    else:
        pairs = _grouped(named_rows) if isinstance(named_rows, LabelledRows) else named_rows
    clusters = [ClusterRows(name, _limited(rows, limit, streams, name)) for name, rows in pairs]
    empty = [cluster.name for cluster in clusters if len(cluster.rows) == 0]
    if not clusters:
        raise EngineError("empty_cluster", "the dataset has no examples; a cluster needs at least one")
    if empty:
        name = empty[0]
        raise EngineError("empty_cluster", f"cluster {name!r} has no examples; each cluster needs at least one")
    count = len(clusters)
    if count > MAX_CLUSTERS:
        raise _too_many(count)
    return JobClusters(clusters)


def _too_many(count: int) -> EngineError:
    return EngineError("too_many_clusters", f"the job has {count} clusters; at most {MAX_CLUSTERS} are accepted in one job")


def _grouped(named_rows: LabelledRows) -> Iterator[tuple[str, Rows]]:
    """The rows of each cluster."""
    order = np.argsort(named_rows.labels, kind="stable")
    sizes = np.bincount(named_rows.labels, minlength=len(named_rows.names))
    return zip(named_rows.names, np.split(order, np.cumsum(sizes)[:-1]), strict=True)


def _rows_of(column: SlotColumn, names: Sequence[str]) -> Iterator[tuple[str, Rows]]:
    return ((name, column.of_cluster(index)) for index, name in enumerate(names))


def _of_column(column: SlotColumn, names: Sequence[str], limit: int | None, streams: RandomStreams) -> JobClusters:
    """The clusters of very many rows, which the column has."""
    if limit is not None and column.sizes.max() > limit:
        is_kept = np.ones(len(column), bool)
        for (name, rows), start in zip(_rows_of(column, names), column.starts.tolist(), strict=True):
            _keep(rows, limit, streams, name, is_kept[start : start + len(rows)])
        column = column.keep(is_kept)
    return JobClusters([ClusterRows(*pair) for pair in _rows_of(column, names)], column)


def _keep(rows: Rows, limit: int, streams: RandomStreams, name: str, is_kept: np.ndarray) -> None:
    """Set whether each row of a cluster is kept: the rows that `_limited` returns are."""
    if len(rows) <= limit:
        return
    generator = streams.generator("limit", name)
    if len(rows) > MOST_PERMUTED:
        order = HashedOrder(generator)
        last = nth(lambda: (order.hashes(rows[block]) for block in blocks(len(rows))), limit)
        for block in blocks(len(rows)):
            is_kept[block] = order.hashes(rows[block]) <= last
    else:
        is_kept[:] = False
        kept = SeededOrder(generator, len(rows))
        for block in blocks(limit):
            is_kept[kept[block]] = True


def _limited(rows: Rows, limit: int | None, streams: RandomStreams, name: str) -> Rows:
    """The rows of a cluster as a list: a seeded sample of them above the limit."""
    if limit is None or len(rows) <= limit:
        return rows if isinstance(rows, np.ndarray) else rows[:]
    generator = streams.generator("limit", name)
    if len(rows) > MOST_PERMUTED:
        return np.sort(rows[HashedOrder(generator).first(rows, limit)])
    return np.sort(rows[SeededOrder(generator, len(rows))[:limit]])


def _all(request: JobRequest, table: Table, forward: Forward, streams: RandomStreams) -> FoundRows:
    return LabelledRows(["all"], np.zeros(table.examples, np.uint8))


def _by_label(request: JobRequest, table: Table, forward: Forward, streams: RandomStreams) -> FoundRows:
    assert request.labels is not None
    return _by_value(table, request.labels)


def _by_prediction(request: JobRequest, table: Table, forward: Forward, streams: RandomStreams) -> FoundRows:
    predicted = forward.classes(table.examples)
    return labelled(len(predicted), lambda block: predicted[block])


def _by_field(request: JobRequest, table: Table, forward: Forward, streams: RandomStreams) -> FoundRows:
    assert isinstance(request.clusters, schema.ByField)
    return _by_value(table, request.clusters.field)


def _members(request: JobRequest, table: Table, forward: Forward, streams: RandomStreams) -> NamedRows:
    assert isinstance(request.clusters, schema.Members)
    return [(name, np.unique(np.array(rows, dtype=np.int64))) for name, rows in request.clusters.members.items()]


def _kmeans(request: JobRequest, table: Table, forward: Forward, streams: RandomStreams) -> FoundRows:
    clusters, count = request.clusters, table.examples
    assert isinstance(clusters, schema.KMeans)
    if clusters.k > count:
        raise EngineError("too_few_examples", f"k is {clusters.k}, and the dataset has {count} examples; k can be at most {count}")
    units = forward.program.place(clusters.layer, "output").units
    values = forward.at(clusters.layer, reads(count, clusters.k, units))
    labels = partition(count, clusters.k, units, values.of, streams.generator("kmeans"), forward.map)
    return LabelledRows([str(index) for index in range(int(labels.max()) + 1)], labels)


def _by_value(table: Table, name: str) -> FoundRows:
    """Rows with equal values of the field are in one cluster."""
    shape = [table.examples, *table.fields[name]["shape"][1:]]
    if len(shape) != 1:
        raise EngineError("wrong_shape", f"the field of the clusters has the shape {shape}; expected one value for each example")

    def values(block: slice) -> np.ndarray:
        read = table.read(name, block)
        if read.dtype.kind == "f" and not np.isfinite(read).all():
            row = int(block.start + np.flatnonzero(~np.isfinite(read))[0])
            raise EngineError("non_finite", f"the field of the clusters is NaN or infinite in row {row}; its values must be finite")
        return read

    return labelled(table.examples, values)


def labelled(count: int, values: Callable[[slice], np.ndarray]) -> FoundRows:
    """Clusters of rows with equal values, in the order of the values.

    `count`: the number of rows. `values`: returns those of a block of rows.

    Raises EngineError `too_many_clusters`.
    """
    if not count:
        return []
    labels, distinct = np.empty(count, np.uint8), values(slice(0, 1))
    for block in blocks(count):
        read = values(block)
        new = np.setdiff1d(read, distinct)
        # New values get the next numbers, so that the rows before keep theirs.
        distinct = np.concatenate([distinct, new])
        if len(distinct) > MOST_COUNTED:
            raise _too_many(len(distinct))
        if len(distinct) > 2 ** (8 * labels.itemsize):
            labels = labels.astype(np.uint16 if labels.itemsize == 1 else np.uint32)
        order = np.argsort(distinct, kind="stable")
        labels[block] = order[np.searchsorted(distinct[order], read)]
    ranks = np.empty(len(distinct), labels.dtype)
    ranks[np.argsort(distinct, kind="stable")] = np.arange(len(distinct))
    if len(distinct) > MAX_CLUSTERS:
        raise _too_many(len(distinct))
    for block in blocks(count):
        labels[block] = ranks[labels[block]]
    return LabelledRows([_name(value) for value in np.sort(distinct).tolist()], labels)


def _name(value: Any) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


FINDERS: dict[type, Callable[[JobRequest, Table, Forward, RandomStreams], FoundRows]] = {
    schema.All: _all,
    schema.ByLabel: _by_label,
    schema.ByPrediction: _by_prediction,
    schema.ByField: _by_field,
    schema.Members: _members,
    schema.KMeans: _kmeans,
}
