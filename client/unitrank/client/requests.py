"""Paths, queries and JSON bodies of requests."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict, TypeVar
from urllib.parse import quote

from pydantic import BaseModel

from unitrank.errors import NotPossible
from unitrank_schemas.datasets import Dataset
from unitrank_schemas.jobs import JobRequest, JobStatus
from unitrank_schemas.models import Model

C = TypeVar("C", Model, Dataset)
COLLECTIONS: Mapping[type, str] = {Model: "/v1/models", Dataset: "/v1/datasets"}


def content_path(schema: type[Model] | type[Dataset], name: str) -> str:
    """The path of a model or dataset; `name` may include a digest. Raises NotPossible."""
    return f"{COLLECTIONS[schema]}/{path_segment(name, safe='@:')}"


def job_path(id: str) -> str:
    """The path of a job. Raises NotPossible."""
    return f"/v1/jobs/{path_segment(id, safe='')}"


def path_segment(name: str, safe: str) -> str:
    """The name, quoted as one segment of a path. Raises NotPossible for an invalid name."""
    try:
        segment = quote(name, safe=safe)
    except UnicodeEncodeError as error:
        raise NotPossible(f"the name {name!r} is invalid: it is not valid Unicode text", code="invalid_name") from error
    if not segment:
        raise NotPossible("a name or an id is empty; give one with at least one character", code="invalid_name")
    return segment


def request_body(request: JobRequest | Mapping[str, Any] | None, fields: Mapping[str, Any]) -> bytes:
    """The JSON of a request, which the service checks. `fields` override those of `request`.

    Raises NotPossible for a value that JSON cannot express.
    """
    return to_json(request_fields(request, fields))


def request_fields(request: JobRequest | Mapping[str, Any] | None, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a request; `fields` override those of `request`."""
    body = request.model_dump(mode="json", exclude_unset=True) if isinstance(request, JobRequest) else dict(request or {})
    return {**body, **fields}


class JobFilters(TypedDict, total=False):
    """The filters and the order of `jobs.list`, which explains them."""

    status: JobStatus | None
    model: str | None
    layer: str | None
    dataset: str | None
    verdict: str | None
    metadata: Mapping[str, Any]
    text: str | None
    sort: Literal["created_at", "area"]
    order: Literal["asc", "desc"]


class PictureOptions(TypedDict, total=False):
    """The options of `datasets.picture`, which explains them."""

    field: str | None
    channels: Literal["first", "last", "none"] | None
    scale: float | Sequence[float] | None
    mean: float | Sequence[float] | None
    std: float | Sequence[float] | None


def picture_query(options: PictureOptions) -> dict[str, str | list[str]]:
    """The query parameters of a row's picture."""
    given = {name: value for name, value in options.items() if value is not None}
    return {
        name: [str(each) for each in value] if isinstance(value, Sequence) and not isinstance(value, str) else str(value)
        for name, value in given.items()
    }


def job_query(filters: JobFilters) -> dict[str, str]:
    """The query parameters of a list of jobs."""
    metadata = {f"metadata.{key}": _as_text(value) for key, value in (filters.get("metadata") or {}).items()}
    return {name: str(value) for name, value in filters.items() if value is not None and name != "metadata"} | metadata


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def result_query(cluster: str | None, ranking: str | None, top: int | None, layer: str | None = None) -> dict[str, str]:
    """The query parameters that select a part of a result."""
    parameters = {"cluster": cluster, "ranking": ranking, "top": None if top is None else str(top), "layer": layer}
    return {name: value for name, value in parameters.items() if value is not None}


def to_json(value: Any) -> bytes:
    """JSON of plain values, schemas and arrays. Raises NotPossible."""
    try:
        return json.dumps(value, default=_plain, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        raise NotPossible(f"the request cannot be written as JSON: {error}", code="invalid_request") from error


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_unset=True)
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, set | frozenset | range | tuple):
        return list(value)
    raise TypeError(f"a {type(value).__name__} has no JSON form; use numbers, texts, lists, mappings or arrays")
