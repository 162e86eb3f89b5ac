"""The differences of the requests of jobs: model and data first, then the fields of the request."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

from unitrank_schemas.base import Json
from unitrank_schemas.comparison import RequestDifference
from unitrank_store.jobs.record import JobRecord

LEFT_OUT = frozenset({"model", "dataset", "metadata", "webhook"})
"""Fields that are compared by digest, and those that no result depends on.

The URL of a webhook may contain a secret.
"""
MOST_CHARACTERS = 2000
"""Characters of a value as JSON; a longer value is replaced by its length and its digest."""


def differences(records: Sequence[JobRecord]) -> list[RequestDifference]:
    """Return the parts of the requests that differ. Contents are compared by their digests."""
    parts = [_parts(record) for record in records]
    names = dict.fromkeys(name for each in parts for name in each)
    rows = ((name, [each.get(name) for each in parts]) for name in names)
    return [
        RequestDifference(field=name, values=[_short(value) for value in values])
        for name, values in rows
        if any(value != values[0] for value in values)
    ]


def _parts(record: JobRecord) -> Json:
    """Return the parts of a request by their dotted names."""
    resolved = record.resolved
    contents = {kind: _content(resolved[kind]) for kind in ("model", "dataset")}
    further = {reference: _content(content) for reference, content in resolved.get("further", {}).items()}
    request = {name: value for name, value in record.request.items() if name not in LEFT_OUT}
    request["methods"] = [_method(entry, further) for entry in request["methods"]]
    return contents | dict(_flat(request))


def _content(content: Json) -> str:
    return f"{content['name'] or 'in the request'}@{content['digest']}"


def _method(entry: Any, further: dict[str, str]) -> Any:  # Any: a method of the request, as JSON
    """Return the entry; a reference to scores names their exact content."""
    if not isinstance(entry, dict) or entry.get("scores") not in further:
        return entry
    return entry | {"scores": further[entry["scores"]]}


def _flat(values: Json, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _short(value: Any) -> Any:  # Any: JSON
    text = json.dumps(value, ensure_ascii=False)
    if len(text) <= MOST_CHARACTERS:
        return value
    return f"{len(text)} characters, sha256:{hashlib.sha256(text.encode()).hexdigest()}"
