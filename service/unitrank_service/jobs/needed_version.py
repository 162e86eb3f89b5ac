"""The version that a job needs: by names, a worker sees whether it is new enough for the job."""

from collections.abc import Sequence
from typing import get_args

from unitrank_schemas.jobs import JobRequest
from unitrank_schemas.jobs.options import SHARDS, chosen_options
from unitrank_service.errors import HttpProblem
from unitrank_store.blobs.source_address import SourceAddress
from unitrank_store.contents.datasets import DatasetRecord
from unitrank_tables.table import Format


def needed_options(request: JobRequest, datasets: Sequence[DatasetRecord]) -> list[str]:
    """Return the names of options and forms of data that the job's worker must know."""
    return [*chosen_options(request), *([SHARDS] if any(map(_may_be_shards, datasets)) else [])]


def check_format(dataset: DatasetRecord) -> None:
    """Raises HttpProblem for a dataset in a format of a newer version."""
    if dataset.format is not None and dataset.format not in get_args(Format):
        detail = (
            f"dataset {dataset.name!r} has the format {dataset.format!r}, which only a newer version of Unitrank reads: "
            "ask the operator to update the service"
        )
        raise HttpProblem("service_too_old", detail)


def _may_be_shards(dataset: DatasetRecord) -> bool:
    """Whether the dataset is read from shards, or may be after its import."""
    if dataset.status == "importing" and dataset.uri is not None:
        return SourceAddress.parse(dataset.uri).is_glob
    return dataset.format == "shards"
