"""Makes the draft of a job: reads the model and dataset, checks the request, estimates the cost."""

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import redis

from unitrank_schemas.checks import Facts, Flaw, RequestRejected, checked, passes
from unitrank_schemas.checks.size import array_bytes, summary_bytes
from unitrank_schemas.datasets import FieldInfo, InlineDataset
from unitrank_schemas.facts.facts import MOST_CLUSTERS, TableFacts, Value
from unitrank_schemas.jobs import Estimate, JobRequest
from unitrank_schemas.models import Manifest
from unitrank_schemas.problems import Invalid
from unitrank_service.contents.distinct_values import MOST_ROWS, DistinctValues
from unitrank_service.errors import HttpProblem
from unitrank_service.jobs.needed_version import check_format, needed_options
from unitrank_service.webhooks.url_policy import UrlNotAllowed, UrlPolicy
from unitrank_store.blobs.digests import digest_of
from unitrank_store.contents.catalogue import Catalogue
from unitrank_store.contents.datasets import DatasetRecord, DatasetStore
from unitrank_store.contents.models import ModelRecord, ModelStore
from unitrank_store.errors import RecordNotFound
from unitrank_store.observability.throughput import OPERATIONS_PER_SECOND, Throughput
from unitrank_tables import Table, encode_inline, open_table

OVERHEAD_SECONDS = 0.01
"""Time of a job without computation, on a model that is loaded already."""

PUT_MODEL = "upload it with PUT /v1/models/{name} first"
PUT_SCORES = "upload it with PUT /v1/datasets/{name} first"
PUT_DATASET = 'upload it with PUT /v1/datasets/{name} first, or send it in the request as {"fields": …}'

R = TypeVar("R", ModelRecord, DatasetRecord)


@dataclass(frozen=True)
class DraftStores:
    """The stores that a draft reads, and its limits."""

    connection: redis.Redis
    models: ModelStore
    datasets: DatasetStore
    distinct_values: DistinctValues
    throughput: Throughput
    url_policy: UrlPolicy
    max_inline_bytes: int
    max_result_bytes: int
    max_shapley_operations: float


@dataclass(frozen=True)
class Draft:
    """A request that passed the checks, with its defaults filled in.

    `dataset`: record of the stored dataset, or None if the request holds the table.
    `inline`: the table of the request as the bytes of an npz, or None.
    `further`: reference → record of the datasets that entries of `methods` read.
    `summary_bytes`: expected size of the result's summary, in bytes.
    `flops`: floating-point operations of all passes.
    `options`: names of the options that the client chose, and of the forms of the data.
    """

    request: JobRequest
    model: ModelRecord
    dataset: DatasetRecord | None
    dataset_digest: str
    estimate: Estimate
    summary_bytes: int
    flops: float
    inline: bytes | None = None
    further: Mapping[str, DatasetRecord] = field(default_factory=dict)
    options: Sequence[str] = ()

    @property
    def checked(self) -> bool:
        """Whether all checks were made. They need the model's manifest and the dataset's header.

        Otherwise the worker makes the missing checks: also those of the values of shards, which
        only the worker reads.
        """
        datasets = [*([self.dataset] if self.dataset else []), *self.further.values()]
        return self.model.manifest is not None and not any(map(_is_for_worker, datasets))


def _is_for_worker(dataset: DatasetRecord) -> bool:
    return dataset.fields is None or (dataset.format == "shards" and (dataset.examples or 0) <= MOST_ROWS)


def draft(request: JobRequest, body_bytes: int, stores: DraftStores) -> Draft:
    """Return the draft of a request. `body_bytes`: size of the HTTP body.

    Raises RequestRejected with all flaws that are found without running the model.
    Raises HttpProblem if the dataset inside the request is too large.
    """
    if request.webhook is not None:
        _check_webhook(request.webhook.url, stores.url_policy)
    if isinstance(request.dataset, InlineDataset):
        model = _resolved(request.model, stores.models, "/model", PUT_MODEL)
        further = _further(request, stores.datasets)
        _check_inline_size(request.dataset, body_bytes, stores.max_inline_bytes)
        return _inline_draft(request, request.dataset, model, further, stores)
    with stores.connection.pipeline(transaction=False) as pipeline:
        stores.models.queue_resolve(request.model, pipeline)
        stores.datasets.queue_resolve(request.dataset, pipeline)
        of_model, of_dataset = pipeline.execute()
    model = _resolved(request.model, stores.models, "/model", PUT_MODEL, of_model)
    further = _further(request, stores.datasets)
    dataset = _resolved(request.dataset, stores.datasets, "/dataset", PUT_DATASET, of_dataset)
    facts = _facts(model, _table_facts(dataset, stores), further, stores)
    if _is_read(dataset):
        facts = replace(facts, true_rows=partial(stores.distinct_values.true_rows, dataset.digest, dataset.examples or 0))
    return _checked_draft(request, model, dataset, dataset.digest, facts, stores.throughput, further=further)


def _further(request: JobRequest, datasets: DatasetStore) -> dict[str, DatasetRecord]:
    """The datasets that entries of `methods` read, by their references."""
    references = {reference: index for index, method in enumerate(request.methods) for reference in method.datasets}
    return {
        reference: _resolved(reference, datasets, f"/methods/{index}/scores", PUT_SCORES) for reference, index in references.items()
    }


def _inline_draft(
    request: JobRequest, dataset: InlineDataset, model: ModelRecord, further: Mapping[str, DatasetRecord], stores: DraftStores
) -> Draft:
    content = encode_inline(dataset.fields)
    with _opened(content) as table:

        def distinct(field: str) -> list[Value] | None:
            return table.distinct(field, MOST_CLUSTERS + 1)

        facts = _facts(model, TableFacts(_infos(table.fields), table.examples, distinct), further, stores)
        facts = replace(facts, values=lambda field: _values(table, field), true_rows=lambda field: _true_rows(table, field))
        return _checked_draft(request, model, None, digest_of(content), facts, stores.throughput, inline=content, further=further)


def _values(table: Table, field: str) -> list[Value] | None:
    """The values of a field with one axis, row by row; None for any other field."""
    if field not in table.fields or len(table.fields[field]["shape"]) != 1:
        return None
    values: list[Value] = table.read(field, slice(None)).tolist()
    return values


def _true_rows(table: Table, field: str) -> int:
    return int(table.read(field, slice(None)).sum())


def _check_webhook(url: str, url_policy: UrlPolicy) -> None:
    try:
        url_policy.check_addresses(url_policy.check(url))
    except UrlNotAllowed as error:
        raise RequestRejected([Flaw("/webhook/url", error.code, error.detail)]) from error


def _resolved(reference: str, catalogue: Catalogue[R], pointer: str, advice: str, reply: Any = None) -> R:
    """The record that the reference at a place of the request names.

    `reply`: reply to the command of `queue_resolve`; None reads the record. Any: redis-py's.

    Raises RequestRejected if the record does not exist, or if its content was rejected.
    """
    kind = catalogue.kind
    try:
        record = catalogue.resolve(reference) if reply is None else catalogue.resolved(reference, reply)
    except RecordNotFound as error:
        raise RequestRejected([Flaw(pointer, f"{kind}_not_found", f"{kind} {reference!r} not found; {advice}")]) from error
    if record.status == "rejected":
        reason = (record.problem or {}).get("detail", "the reason was not recorded")
        raise RequestRejected([Flaw(pointer, f"{kind}_rejected", f"{kind} {reference!r} was rejected: {reason}")])
    return record


def _distinct(dataset: DatasetRecord, values: DistinctValues) -> Callable[[str], list[Value] | None]:
    """A function from a field's name to its distinct values.

    It returns None before the dataset is ready, and for shards.
    """
    return partial(values.distinct, dataset.digest, dataset.examples or 0) if _is_read(dataset) else lambda field: None


def _is_read(dataset: DatasetRecord) -> bool:
    """Whether the service reads values of the dataset: it is ready, and not read from shards."""
    return dataset.status == "ready" and dataset.examples is not None and dataset.format != "shards"


def _table_facts(dataset: DatasetRecord, stores: DraftStores) -> TableFacts | None:
    """The facts of a stored dataset; None before it is ready."""
    check_format(dataset)
    if dataset.fields is None:
        return None
    return TableFacts(_infos(dataset.fields), dataset.examples or 0, _distinct(dataset, stores.distinct_values))


def _infos(fields: Mapping[str, Any]) -> dict[str, FieldInfo]:
    return {name: FieldInfo.model_validate(info, extra="ignore") for name, info in fields.items()}


def _facts(model: ModelRecord, table: TableFacts | None, further: Mapping[str, DatasetRecord], stores: DraftStores) -> Facts:
    tables = {reference: facts for reference, dataset in further.items() if (facts := _table_facts(dataset, stores))}
    return Facts(
        manifest=Manifest.model_validate(model.manifest, extra="ignore") if model.manifest is not None else None,
        fields=table.fields if table else None,
        examples=table.examples if table else 0,
        distinct=table.distinct if table else lambda field: None,
        max_result_bytes=stores.max_result_bytes,
        max_shapley_operations=stores.max_shapley_operations,
        tables=tables,
    )


def _checked_draft(
    request: JobRequest,
    model: ModelRecord,
    dataset: DatasetRecord | None,
    digest: str,
    facts: Facts,
    throughput: Throughput,
    *,
    inline: bytes | None = None,
    further: Mapping[str, DatasetRecord],
) -> Draft:
    options = needed_options(request, [*([dataset] if dataset else []), *further.values()])
    request = checked(request, facts)
    count = passes(request, facts)
    flops = float(count) * (facts.manifest.flops if facts.manifest else 0)
    seconds = OVERHEAD_SECONDS + flops / (throughput.rate() or OPERATIONS_PER_SECOND)
    result_bytes = sum(array_bytes(request, facts).values())
    estimate = Estimate(passes=count, seconds=seconds, result_bytes=result_bytes)
    return Draft(request, model, dataset, digest, estimate, summary_bytes(request, facts), flops, inline, further, options)


def _check_inline_size(dataset: InlineDataset, body_bytes: int, limit: int) -> None:
    # Measuring the dataset means encoding it again, so a body within the limit is not measured.
    if body_bytes > limit and (size := len(json.dumps(dataset.fields, separators=(",", ":")))) > limit:
        detail = f"the dataset in the request has {size} bytes; at most {limit} are allowed: use PUT /v1/datasets/{{name}}"
        errors = [Invalid(pointer="/dataset", detail=detail, code="dataset_too_large")]
        raise HttpProblem("dataset_too_large", detail, errors=errors)


@contextmanager
def _opened(content: bytes) -> Iterator[Table]:
    """Open the bytes of an npz as a table, in a temporary file that is deleted after the block."""
    with tempfile.TemporaryDirectory(prefix="unitrank-") as folder:
        path = Path(folder) / "inline.npz"
        path.write_bytes(content)
        with open_table(path) as table:
            yield table
