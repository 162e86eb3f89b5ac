"""Puts models and datasets, whatever they are given as, as flows."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unitrank.client.endpoints import C, Calls, content_path
from unitrank.client.operations import Flow, done
from unitrank.client.progress import uploading
from unitrank.client.tables import table_file
from unitrank.errors import NotPossible
from unitrank.exporting import export
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
    options: Mapping[str, Any],
    wait: bool,
    quiet: bool,
) -> Flow[Model]:
    """The model, ready where that is waited for; `options` are those of its format, and None stands for one not given."""
    put = yield from _put_model(calls, name, model, example_inputs, uri=uri, query=_query(options), quiet=quiet)
    return (yield from _ready(calls, name, put, wait))


def put_dataset(
    calls: Calls, name: str, data: Any, *, uri: str | None, fields: Mapping[str, Any], wait: bool, quiet: bool
) -> Flow[Dataset]:
    """The dataset, ready where that is waited for."""
    put = yield from _put_dataset(calls, name, data, uri=uri, fields=fields, quiet=quiet)
    return (yield from _ready(calls, name, put, wait))


def _ready(calls: Calls, name: str, put: C, wait: bool) -> Flow[C]:
    if not wait or put.status == "ready":
        return put
    return (yield from calls.until_ready(content_path(type(put), name), type(put)))


def _put_model(
    calls: Calls,
    name: str,
    model: str | Path | torch.nn.Module | None,
    example_inputs: Any,
    *,
    uri: str | None,
    query: Mapping[str, str],
    quiet: bool,
) -> Flow[Model]:
    path = content_path(Model, name)
    if (model is None) == (uri is None):
        raise NotPossible("give a network or a path, or else uri=…", code="invalid_request")
    if uri is not None:
        return (yield from calls.put_uri(path, uri, Model, query))
    with ExitStack() as stack:
        file = yield from done(lambda: stack.enter_context(_archive(model, example_inputs)))
        sent = stack.enter_context(uploading(name, file, quiet))
        return (yield from calls.put_file(path, file, Model, sent, query))


def _query(options: Mapping[str, Any]) -> dict[str, str]:
    """Query parameters: texts as they are, any other value as JSON. Raises TypeError for an option that no format has."""
    allowed = {parameter for kind in MODEL_FORMATS.values() for parameter in kind.parameters}
    unknown = sorted(set(options) - allowed)
    if unknown:
        raise TypeError(f"option {unknown[0]!r} is not an option of any model format; use one of {', '.join(sorted(allowed))}")
    values = {name: dict(value) if isinstance(value, Mapping) else value for name, value in options.items() if value is not None}
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}


def _put_dataset(calls: Calls, name: str, data: Any, *, uri: str | None, fields: Mapping[str, Any], quiet: bool) -> Flow[Dataset]:
    path = content_path(Dataset, name)
    if uri is not None:
        if data is not None or fields:
            raise NotPossible("give data or uri=…, not both", code="invalid_request")
        return (yield from calls.put_uri(path, uri, Dataset))
    with ExitStack() as stack:
        file = yield from done(lambda: stack.enter_context(table_file(data, fields)))
        sent = stack.enter_context(uploading(name, file, quiet))
        return (yield from calls.put_file(path, file, Dataset, sent))


@contextmanager
def _archive(model: Any, example_inputs: Any) -> Iterator[Path]:
    """The file that is uploaded; what is no path is exported, or refused by that."""
    if isinstance(model, str | Path):
        if not Path(model).is_file():
            raise NotPossible(f"there is no file {model}", code="no_file")
        yield Path(model)
        return
    if example_inputs is None:
        raise NotPossible("to export a network say what its inputs look like: example_inputs=x[:1]")
    with tempfile.TemporaryDirectory(prefix="unitrank-") as folder:
        export(model, example_inputs, Path(folder, "model.pt2"))
        yield Path(folder, "model.pt2")
