"""Reuse of clusters that take passes through the model, such as those by prediction or k-means."""

import numpy as np

from unitrank_engine.job.batch_size import rows_at_once
from unitrank_engine.job.clusters.finders import ClusterRows, find_clusters
from unitrank_engine.job.clusters.forward import Forward
from unitrank_engine.job.random_streams import RandomStreams
from unitrank_engine.reuse.fingerprints import fingerprint, machine
from unitrank_engine.reuse.parts import PartStore, read_part
from unitrank_schemas.jobs import JobRequest
from unitrank_tables import Table
from unitrank_tables.part import Part


def find_or_reuse_clusters(
    request: JobRequest, table: Table, forward: Forward, streams: RandomStreams, store: PartStore
) -> list[ClusterRows]:
    """As `find_clusters`, but clusters that take passes come from the store if it has them.

    Otherwise these clusters are computed and put into the store.
    """
    if not request.clusters.reads_model:
        return find_clusters(request, table, forward, streams)
    program = forward.program
    read = request.model_dump(mode="json", include={"inputs", "preprocess"}) | {"output": forward.output}
    # Clusters by prediction depend on what the output's values are, but not on the explained class.
    read |= request.target.model_dump(mode="json", include={"output_is", "reduce"})
    key = fingerprint("clusters", machine(program.device), rows_at_once(program), streams.key, read)
    clusters: list[ClusterRows] | None = read_part(store.get([key]).get(key), _clusters_from)
    if clusters is None:
        clusters = find_clusters(request, table, forward, streams)
        store.put({key: _part_of(clusters)})
    return clusters


def _part_of(clusters: list[ClusterRows]) -> Part:
    rows = [cluster.rows for cluster in clusters]
    arrays = {"rows": np.concatenate(rows), "sizes": np.array([len(each) for each in rows], np.int64)}
    return Part(arrays, {"names": [cluster.name for cluster in clusters]})


def _clusters_from(part: Part) -> list[ClusterRows]:
    rows = np.split(part.arrays["rows"], np.cumsum(part.arrays["sizes"])[:-1])
    return [ClusterRows(name, each) for name, each in zip(part.metadata["names"], rows, strict=True)]
