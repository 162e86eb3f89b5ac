"""The JSON bodies of models and datasets."""

from pathlib import Path

from unitrank_schemas.base import Json
from unitrank_schemas.models import options_by_format
from unitrank_service.http.responses import moment
from unitrank_store.contents.datasets import DatasetRecord
from unitrank_store.contents.importing import UNREAD
from unitrank_store.contents.models import ModelRecord
from unitrank_tables import open_table
from unitrank_tables.columns import ColumnInfo
from unitrank_tables.table import Format


def model_body(record: ModelRecord) -> Json:
    """Return the body of a model; its schema is `unitrank_schemas.models.Model`."""
    manifest: Json = record.manifest or dict.fromkeys(("inputs", "outputs", "parameters", "layers", "flops", "differentiable"))
    return {
        "name": record.name,
        "digest": None if record.digest.startswith(UNREAD) else record.digest,
        "bytes": record.bytes,
        "status": record.status,
        "created_at": moment(record.created_at),
        **manifest,
        **options_by_format(record.format),
        "problem": record.problem,
    }


def dataset_body(record: DatasetRecord) -> Json:
    """Return the body of a dataset; its schema is `unitrank_schemas.datasets.Dataset`."""
    return {
        "name": record.name,
        "digest": None if record.digest.startswith(UNREAD) else record.digest,
        "bytes": record.bytes,
        "status": record.status,
        "examples": record.examples,
        "created_at": moment(record.created_at),
        "fields": record.fields,
        "problem": record.problem,
    }


def read_header(path: Path, limit: int) -> tuple[dict[str, ColumnInfo], int, Format]:
    """Return the fields, the number of examples and the format of a table.

    `limit`: maximum bytes of the unpacked arrays.
    Raises BadTable if the file is not a table, or exceeds the limit.
    """
    with open_table(path, limit) as table:
        return table.fields, table.examples, table.format
