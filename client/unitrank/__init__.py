"""Unitrank ranks the units of a neural network by importance, and tests each ranking by ablation.

`Client` and `AsyncClient` use a service; `rank` computes the same result in this process.
`check_scores` finds the bug in scores of your own code.
`export` writes a network as an archive that the service accepts.
"""

from pathlib import Path

from unitrank.name_clashes import clash_of

try:
    import unitrank_schemas.base  # noqa: F401  # the first import of another Unitrank package
except ImportError as error:
    raise ImportError(clash_of(error) or str(error), name=error.name) from error

from unitrank.client.async_client import AsyncClient
from unitrank.client.async_jobs import AsyncJobHandle
from unitrank.client.given import given
from unitrank.client.jobs import JobHandle
from unitrank.client.sync import Client
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
from unitrank.results import JobResult, LayeredJobResult, load_result
from unitrank.score_checks.local import check_scores
from unitrank.score_checks.score_check import ScoreCheck

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
    "LayeredJobResult",
    "NotFound",
    "NotPossible",
    "NotSucceeded",
    "RateLimited",
    "Refused",
    "Rejected",
    "ScoreCheck",
    "ServiceError",
    "Timeout",
    "TooLarge",
    "Unauthorized",
    "UnitrankError",
    "Unreachable",
    "check_scores",
    "export",
    "export_folder",
    "given",
    "load",
    "rank",
]


def load(path: str | Path) -> JobResult:
    """Reads a result from a file; that of several layers is a `LayeredJobResult`.

    Args:
        path: a file that `JobResult.save` or `unitrank result --format npz` wrote.

    Raises NotPossible if the file cannot be read, or does not hold a result.

    >>> import unitrank
    >>> path = result.save(folder / "result.npz")
    >>> unitrank.load(path).best == result.best
    True
    """
    return load_result(path)
