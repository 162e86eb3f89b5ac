"""Reuse of clusters that take passes through the model, such as those by prediction or k-means."""

from unitrank_engine.job.batch_size import rows_at_once
from unitrank_engine.job.clusters.finders import FoundRows, LabelledRows, find_rows
from unitrank_engine.job.clusters.forward import Forward
from unitrank_engine.job.random_streams import RandomStreams
from unitrank_engine.reuse.fingerprints import fingerprint, machine
from unitrank_engine.reuse.parts import PartStore, read_part
from unitrank_schemas.jobs import JobRequest
from unitrank_tables import Table
from unitrank_tables.part import Part


def find_or_reuse_rows(request: JobRequest, table: Table, forward: Forward, streams: RandomStreams, store: PartStore) -> FoundRows:
    """As `find_rows`, but rows of clusters that take passes come from the store if it has them.

    Otherwise these rows are computed and put into the store.
    """
    if not request.clusters.reads_model:
        return find_rows(request, table, forward, streams)
    program = forward.program
    read = request.model_dump(mode="json", include={"inputs", "preprocess"}) | {"output": forward.output}
    # Clusters by prediction depend on what the output's values are, but not on the explained class.
    read |= request.target.model_dump(mode="json", include={"output_is", "reduce"})
    key = fingerprint("clusters", machine(program.device), rows_at_once(program), streams.key, read)
    named_rows: FoundRows | None = read_part(store.get([key]).get(key), _rows_from)
    if named_rows is None:
        named_rows = find_rows(request, table, forward, streams)
        if isinstance(named_rows, LabelledRows):
            # A copy, because the column of a large job changes the labels.
            store.put({key: Part({"labels": named_rows.labels.copy()}, {"names": list(named_rows.names)})})
    return named_rows


def _rows_from(part: Part) -> LabelledRows:
    return LabelledRows(part.metadata["names"], part.arrays["labels"].copy())
