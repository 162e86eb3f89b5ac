"""Uploads of models and datasets, as flows: from files, networks, arrays or URIs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unitrank.client.endpoints import Calls
from unitrank.client.http.operations import Flow, work
from unitrank.client.progress import noting, uploading
from unitrank.client.requests import C, content_path
from unitrank.dataset_files import Columns, dataset_file
from unitrank.errors import NotPossible
from unitrank.model_archives import hub_archive, model_archive
from unitrank_schemas.datasets import Dataset
from unitrank_schemas.models import MODEL_FORMATS, Model

if TYPE_CHECKING:
    import torch


def put_model(
    calls: Calls,
    name: str,
    model: str | Path | torch.nn.Module | None,
    example_inputs: Any,
    *,
    uri: str | None,
    hub: str | Path | None,
    options: Mapping[str, Any],
    wait: bool,
    quiet: bool,
) -> Flow[Model]:
    """Uploads the model, and waits until it is ready if `wait` is set.

    `options` are those of the model's format; an option that is None is not sent.
    """
    if hub is not None and options.get("architecture") is not None:
        raise NotPossible("both hub and architecture were given; give one of them", code="invalid_request")
    sources = {"a model": model, f"uri={uri!r}": uri, f"hub={str(hub)!r}": hub}
    given = [text for text, source in sources.items() if source is not None]
    if len(given) != 1:
        raise NotPossible(
            f"{'neither a model nor a uri nor a hub was given' if not given else 'both ' + ' and '.join(given) + ' were given'}; "
            "give a network, the path of a file, uri=… or hub=…",
            code="invalid_request",
        )
    if hub is not None:
        archive = hub_archive(hub, options.get("arguments") or {})
        query = _query({**options, "arguments": None})
    else:
        archive, query = model_archive(model, example_inputs), _query(options)
    record = yield from _put_model(calls, name, archive, uri=uri, query=query, quiet=quiet)
    return (yield from _ready(calls, name, record, wait))


def put_dataset(
    calls: Calls,
    name: str,
    data: Any,
    *,
    uri: str | None,
    columns: Columns | None,
    fields: Mapping[str, Any],
    wait: bool,
    quiet: bool,
) -> Flow[Dataset]:
    """Uploads the dataset, and waits until it is ready if `wait` is set."""
    record = yield from _put_dataset(calls, name, data, uri=uri, columns=columns, fields=fields, quiet=quiet)
    return (yield from _ready(calls, name, record, wait))


def _ready(calls: Calls, name: str, record: C, wait: bool) -> Flow[C]:
    if not wait or record.status == "ready":
        return record
    return (yield from calls.until_ready(content_path(type(record), name), type(record)))


def _put_model(
    calls: Calls, name: str, archive: AbstractContextManager[Path], *, uri: str | None, query: Mapping[str, str], quiet: bool
) -> Flow[Model]:
    path = content_path(Model, name)
    if uri is not None:
        return (yield from calls.put_uri(path, uri, Model, query))
    with ExitStack() as stack:
        file = yield from work(lambda: stack.enter_context(archive))
        on_sent = stack.enter_context(uploading(name, file, quiet))
        return (yield from calls.put_file(path, file, Model, on_sent, query))


def _query(options: Mapping[str, Any]) -> dict[str, str]:
    """The options as query parameters: a text as it is, any other value as JSON.

    Raises TypeError for an option that no model format has.
    """
    allowed = {parameter for format in MODEL_FORMATS.values() for parameter in format.parameters}
    unknown = sorted(set(options) - allowed)
    if unknown:
        raise TypeError(f"option {unknown[0]!r} is unknown: no model format has it; use one of {', '.join(sorted(allowed))}")
    values = {name: dict(value) if isinstance(value, Mapping) else value for name, value in options.items() if value is not None}
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}


def _put_dataset(
    calls: Calls, name: str, data: Any, *, uri: str | None, columns: Columns | None, fields: Mapping[str, Any], quiet: bool
) -> Flow[Dataset]:
    path = content_path(Dataset, name)
    if uri is not None:
        if data is not None or fields or columns:
            raise NotPossible(f"both data and uri={uri!r} were given; give one of them", code="invalid_request")
        return (yield from calls.put_uri(path, uri, Dataset))
    with ExitStack() as stack:
        file = yield from work(lambda: stack.enter_context(dataset_file(data, fields, columns, note=noting(quiet))))
        on_sent = stack.enter_context(uploading(name, file, quiet))
        return (yield from calls.put_file(path, file, Dataset, on_sent))
