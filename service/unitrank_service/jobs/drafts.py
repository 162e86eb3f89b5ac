"""From a request to a draft of a job: what it names is looked up, what can be known is checked, what it costs is estimated."""

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from unitrank_schemas.checks import Facts, Flaw, Rejected, checked, passes
from unitrank_schemas.checks.size import array_bytes, summary_bytes
from unitrank_schemas.datasets import FieldInfo, InlineDataset
from unitrank_schemas.facts.facts import MOST_CLUSTERS, Value
from unitrank_schemas.jobs import Estimate, JobRequest
from unitrank_schemas.models import Manifest
from unitrank_schemas.problems import Invalid
from unitrank_service.backend import Backend
from unitrank_service.errors import HttpProblem
from unitrank_service.webhooks.url_policy import UrlNotAllowed
from unitrank_store.blobs.digests import digest_of
from unitrank_store.contents.catalogue import Catalogue
from unitrank_store.contents.datasets import DatasetRecord
from unitrank_store.contents.models import ModelRecord
from unitrank_store.errors import RecordNotFound
from unitrank_tables import encode_inline, open_table

OPERATIONS_PER_SECOND = 2e10
"""What a device is taken to do before any job has measured it."""
OVERHEAD_SECONDS = 0.01
"""What a job on a warm model takes where there is nothing to compute."""

PUT_MODEL = "PUT it at /v1/models/{name} first"
PUT_DATASET = 'PUT it at /v1/datasets/{name} first, or send it as {"fields": …}'

R = TypeVar("R", ModelRecord, DatasetRecord)


@dataclass(frozen=True)
class Draft:
    """A request that passed the checks, with its defaults filled in; `dataset` is None for one inside the request."""

    request: JobRequest
    model: ModelRecord
    dataset: DatasetRecord | None
    dataset_digest: str
    estimate: Estimate
    summary_bytes: int
    flops: float


def draft(backend: Backend, request: JobRequest, body_bytes: int) -> Draft:
    """Raises Rejected with every flaw that can be known now, and HttpProblem for a dataset that is too large for a request."""
    if request.webhook is not None:
        _check_webhook(backend, request.webhook.url)
    model = _named(backend.models, request.model, PUT_MODEL)
    if isinstance(request.dataset, InlineDataset):
        _check_inline_size(request.dataset, body_bytes, backend.settings.max_inline_bytes)
        with _inline_facts(request.dataset) as (digest, fields, examples, values):
            return _drafted(backend, request, model, None, digest, _facts(backend, model, fields, examples, values))
    dataset = _named(backend.datasets, request.dataset, PUT_DATASET)
    facts = _facts(backend, model, dataset.fields, dataset.examples or 0, _values(backend, dataset))
    return _drafted(backend, request, model, dataset, dataset.digest, facts)


def _check_webhook(backend: Backend, url: str) -> None:
    try:
        backend.url_policy.check(url)
    except UrlNotAllowed as error:
        raise Rejected([Flaw("/webhook/url", error.code, error.detail)]) from error


def _named(catalogue: Catalogue[R], reference: str, advice: str) -> R:
    """What a job means by the reference. Raises Rejected where there is nothing, or what there is was rejected."""
    kind = catalogue.kind
    try:
        found = catalogue.resolve(reference)
    except RecordNotFound as error:
        raise Rejected([Flaw(f"/{kind}", f"{kind}_not_found", f"{kind} {reference!r} not found; {advice}")]) from error
    if found.status == "rejected":
        reason = (found.problem or {}).get("detail", "no reason is known")
        raise Rejected([Flaw(f"/{kind}", f"{kind}_rejected", f"{kind} {reference!r} was rejected: {reason}")])
    return found


def _values(backend: Backend, dataset: DatasetRecord) -> Callable[[str], list[Value] | None]:
    """The distinct values of its fields; none are known before it is there."""
    if dataset.status != "ready" or dataset.examples is None:
        return lambda field: None
    return partial(backend.values.distinct, dataset.digest, dataset.examples)


def _facts(backend: Backend, model: ModelRecord, fields: Any, examples: int, values: Callable[[str], Any]) -> Facts:
    return Facts(
        manifest=Manifest.model_validate(model.manifest) if model.manifest is not None else None,
        fields={name: FieldInfo(**info) for name, info in fields.items()} if fields is not None else None,
        examples=examples,
        distinct=values,
        max_result_bytes=backend.settings.max_result_bytes,
    )


def _drafted(
    backend: Backend, request: JobRequest, model: ModelRecord, dataset: DatasetRecord | None, digest: str, facts: Facts
) -> Draft:
    request = checked(request, facts)
    count = passes(request, facts)
    flops = float(count) * (facts.manifest.flops if facts.manifest else 0)
    seconds = OVERHEAD_SECONDS + flops / (backend.rates.rate() or OPERATIONS_PER_SECOND)
    result_bytes = sum(array_bytes(request, facts).values())
    estimate = Estimate(passes=count, seconds=seconds, result_bytes=result_bytes)
    return Draft(request, model, dataset, digest, estimate, summary_bytes(request, facts), flops)


def _check_inline_size(dataset: InlineDataset, body_bytes: int, limit: int) -> None:
    # Written out again, and measured, only where it can be too large at all.
    if body_bytes > limit and (size := len(json.dumps(dataset.fields, separators=(",", ":")))) > limit:
        detail = f"the dataset inside the request has {size} bytes; at most {limit} are allowed: PUT it at /v1/datasets/{{name}}"
        errors = [Invalid(pointer="/dataset", detail=detail, code="dataset_too_large")]
        raise HttpProblem("dataset_too_large", detail, errors=errors)


@contextmanager
def _inline_facts(dataset: InlineDataset) -> Iterator[tuple[str, Any, int, Callable[[str], list[Value] | None]]]:
    """Digest, fields, number of examples and values of a dataset inside a request, without keeping it."""
    with tempfile.TemporaryDirectory(prefix="unitrank-") as folder:
        path = Path(folder) / "inline.npz"
        content = encode_inline(dataset.fields)
        path.write_bytes(content)
        with open_table(path) as table:
            yield digest_of(content), table.fields, table.examples, lambda field: table.distinct(field, MOST_CLUSTERS + 1)
