"""Models and datasets as the client sees them, and what a PUT needs to know."""

from pathlib import Path
from typing import Any

from fastapi import Request
from pydantic import BaseModel, ValidationError

from api_schemas.problems import Invalid
from service.answers import moment
from service.errors import RefusedBody
from service.requests import check_json
from service.validation import invalid_places
from store.datasets import DatasetRecord
from store.models import ModelRecord
from store.record import Json
from store.tables import open_table
from store.tables.columns import FieldInfo
from store.tables.table import Format


def model_body(record: ModelRecord) -> Json:
    """After `api_schemas.models.Model`."""
    manifest: Json = record.manifest or dict.fromkeys(("inputs", "outputs", "parameters", "layers", "flops", "differentiable"))
    return {
        "name": record.name,
        "digest": record.digest,
        "bytes": record.bytes,
        "status": record.status,
        "created_at": moment(record.created_at),
        **manifest,
        "architecture": record.architecture,
        "problem": record.problem,
    }


def dataset_body(record: DatasetRecord) -> Json:
    """After `api_schemas.datasets.Dataset`."""
    return {
        "name": record.name,
        "digest": record.digest,
        "bytes": record.bytes,
        "status": record.status,
        "examples": record.examples,
        "created_at": moment(record.created_at),
        "fields": record.fields,
        "problem": record.problem,
    }


def read_header(path: Path, limit: int) -> tuple[dict[str, FieldInfo], int, Format]:
    """Fields, number of examples and format of a table. Raises BadTable; `limit` is in bytes of unpacked data."""
    with open_table(path, limit) as table:
        return table.fields, table.examples, table.format


async def refuse_uri(request: Request, schema: type[BaseModel]) -> None:
    """Read `{"uri": …}` and refuse it: no place is allowed. Raises RefusedBody."""
    await check_json(request)
    document: Any = await request.json()
    try:
        location = schema.model_validate(document)
    except ValidationError as error:
        loose = [{**dict(entry), "loc": ("body", *entry["loc"])} for entry in error.errors()]
        raise RefusedBody(invalid_places(loose, document, schema)) from error
    uri = str(getattr(location, "uri", ""))[:200]
    detail = f"the operator has allowed no places to read from, got {uri!r}; send the bytes instead"
    raise RefusedBody([Invalid(pointer="/uri", detail=detail, code="uri_not_allowed")])
