"""Makes the draft of a job: reads the model and dataset, checks the request, estimates the cost."""

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from unitrank_schemas.checks import Facts, Flaw, RequestRejected, checked, passes
from unitrank_schemas.checks.size import array_bytes, summary_bytes
from unitrank_schemas.datasets import FieldInfo, InlineDataset
from unitrank_schemas.facts.facts import MOST_CLUSTERS, Value
from unitrank_schemas.jobs import Estimate, JobRequest
from unitrank_schemas.models import Manifest
from unitrank_schemas.problems import Invalid
from unitrank_service.contents.distinct_values import DistinctValues
from unitrank_service.errors import HttpProblem
from unitrank_service.webhooks.url_policy import UrlNotAllowed, UrlPolicy
from unitrank_store.blobs.digests import digest_of
from unitrank_store.contents.catalogue import Catalogue
from unitrank_store.contents.datasets import DatasetRecord, DatasetStore
from unitrank_store.contents.models import ModelRecord, ModelStore
from unitrank_store.errors import RecordNotFound
from unitrank_store.observability.throughput import Throughput
from unitrank_tables import Table, encode_inline, open_table

OPERATIONS_PER_SECOND = 2e10
"""Assumed speed of a device before a job has measured it."""
OVERHEAD_SECONDS = 0.01
"""Time of a job without computation, on a model that is loaded already."""

PUT_MODEL = "upload it with PUT /v1/models/{name} first"
PUT_DATASET = 'upload it with PUT /v1/datasets/{name} first, or send it in the request as {"fields": …}'

R = TypeVar("R", ModelRecord, DatasetRecord)


@dataclass(frozen=True)
class DraftStores:
    """The stores that a draft reads, and its limits in bytes."""

    models: ModelStore
    datasets: DatasetStore
    distinct_values: DistinctValues
    throughput: Throughput
    url_policy: UrlPolicy
    max_inline_bytes: int
    max_result_bytes: int


@dataclass(frozen=True)
class Draft:
    """A request that passed the checks, with its defaults filled in.

    `dataset`: record of the stored dataset, or None if the request holds the table.
    `inline`: the table of the request as the bytes of an npz, or None.
    `summary_bytes`: expected size of the result's summary, in bytes.
    `flops`: floating-point operations of all passes.
    """

    request: JobRequest
    model: ModelRecord
    dataset: DatasetRecord | None
    dataset_digest: str
    estimate: Estimate
    summary_bytes: int
    flops: float
    inline: bytes | None = None

    @property
    def checked(self) -> bool:
        """Whether all checks were made. They need the model's manifest and the dataset's header.

        Otherwise the worker makes the missing checks.
        """
        return self.model.manifest is not None and (self.dataset is None or self.dataset.fields is not None)


def draft(request: JobRequest, body_bytes: int, stores: DraftStores) -> Draft:
    """Return the draft of a request. `body_bytes`: size of the HTTP body.

    Raises RequestRejected with all flaws that are found without running the model.
    Raises HttpProblem if the dataset inside the request is too large.
    """
    if request.webhook is not None:
        _check_webhook(request.webhook.url, stores.url_policy)
    model = _resolved(request.model, stores.models, PUT_MODEL)
    if isinstance(request.dataset, InlineDataset):
        _check_inline_size(request.dataset, body_bytes, stores.max_inline_bytes)
        return _inline_draft(request, request.dataset, model, stores)
    dataset = _resolved(request.dataset, stores.datasets, PUT_DATASET)
    facts = _facts(
        model, dataset.fields, dataset.examples or 0, _distinct(dataset, stores.distinct_values), stores.max_result_bytes
    )
    return _checked_draft(request, model, dataset, dataset.digest, facts, stores.throughput)


def _inline_draft(request: JobRequest, dataset: InlineDataset, model: ModelRecord, stores: DraftStores) -> Draft:
    content = encode_inline(dataset.fields)
    with _opened(content) as table:

        def distinct(field: str) -> list[Value] | None:
            return table.distinct(field, MOST_CLUSTERS + 1)

        facts = _facts(model, table.fields, table.examples, distinct, stores.max_result_bytes)
        return _checked_draft(request, model, None, digest_of(content), facts, stores.throughput, inline=content)


def _check_webhook(url: str, url_policy: UrlPolicy) -> None:
    try:
        url_policy.check_addresses(url_policy.check(url))
    except UrlNotAllowed as error:
        raise RequestRejected([Flaw("/webhook/url", error.code, error.detail)]) from error


def _resolved(reference: str, catalogue: Catalogue[R], advice: str) -> R:
    """The record that the reference names.

    Raises RequestRejected if the record does not exist, or if its content was rejected.
    """
    kind = catalogue.kind
    try:
        record = catalogue.resolve(reference)
    except RecordNotFound as error:
        raise RequestRejected([Flaw(f"/{kind}", f"{kind}_not_found", f"{kind} {reference!r} not found; {advice}")]) from error
    if record.status == "rejected":
        reason = (record.problem or {}).get("detail", "the reason was not recorded")
        raise RequestRejected([Flaw(f"/{kind}", f"{kind}_rejected", f"{kind} {reference!r} was rejected: {reason}")])
    return record


def _distinct(dataset: DatasetRecord, values: DistinctValues) -> Callable[[str], list[Value] | None]:
    """A function from a field's name to its distinct values; None before the dataset is ready."""
    if dataset.status != "ready" or dataset.examples is None:
        return lambda field: None
    return partial(values.distinct, dataset.digest, dataset.examples)


def _facts(
    model: ModelRecord,
    fields: Mapping[str, Any] | None,
    examples: int,
    distinct: Callable[[str], list[Value] | None],
    max_result_bytes: int,
) -> Facts:
    return Facts(
        manifest=Manifest.model_validate(model.manifest) if model.manifest is not None else None,
        fields={name: FieldInfo(**info) for name, info in fields.items()} if fields is not None else None,
        examples=examples,
        distinct=distinct,
        max_result_bytes=max_result_bytes,
    )


def _checked_draft(
    request: JobRequest,
    model: ModelRecord,
    dataset: DatasetRecord | None,
    digest: str,
    facts: Facts,
    throughput: Throughput,
    inline: bytes | None = None,
) -> Draft:
    request = checked(request, facts)
    count = passes(request, facts)
    flops = float(count) * (facts.manifest.flops if facts.manifest else 0)
    seconds = OVERHEAD_SECONDS + flops / (throughput.rate() or OPERATIONS_PER_SECOND)
    result_bytes = sum(array_bytes(request, facts).values())
    estimate = Estimate(passes=count, seconds=seconds, result_bytes=result_bytes)
    return Draft(request, model, dataset, digest, estimate, summary_bytes(request, facts), flops, inline)


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
