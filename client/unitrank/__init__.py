"""The client and the command line: `Client` and its twin for asyncio, `rank` without a service, `export`."""

from pathlib import Path

from unitrank.name_clashes import clash_of

try:
    import unitrank_schemas.base  # noqa: F401  # the first import of another package of Unitrank
except ImportError as error:
    raise ImportError(clash_of(error) or str(error), name=error.name) from error

from unitrank.client.async_client import AsyncClient, AsyncJobHandle
from unitrank.client.sync import Client, JobHandle
from unitrank.errors import (
    Conflict,
    Expired,
    Forbidden,
    InvalidRequest,
    JobCancelled,
    JobFailed,
    JobTimedOut,
    NotFound,
    NotPossible,
    NotSucceeded,
    RateLimited,
    Refused,
    Rejected,
    ServiceError,
    Timeout,
    TooLarge,
    Unauthorized,
    UnitrankError,
    Unreachable,
)
from unitrank.exporting import ExportRefused, export, export_folder
from unitrank.inprocess import rank
from unitrank.results import JobResult

__all__ = [
    "AsyncClient",
    "AsyncJobHandle",
    "Client",
    "Conflict",
    "Expired",
    "ExportRefused",
    "Forbidden",
    "InvalidRequest",
    "JobCancelled",
    "JobFailed",
    "JobHandle",
    "JobResult",
    "JobTimedOut",
    "NotFound",
    "NotPossible",
    "NotSucceeded",
    "RateLimited",
    "Refused",
    "Rejected",
    "ServiceError",
    "Timeout",
    "TooLarge",
    "Unauthorized",
    "UnitrankError",
    "Unreachable",
    "export",
    "export_folder",
    "load",
    "rank",
]


def load(path: str | Path) -> JobResult:
    """The result that `JobResult.save` wrote. Raises NotPossible."""
    return JobResult.load(path)
