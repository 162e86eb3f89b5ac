"""Problems of jobs: why a job ended without success."""

from unitrank_schemas.base import Json


def problem(code: str, detail: str, *, title: str | None = None, status: int = 422, retryable: bool = False) -> Json:
    """The JSON object of a problem for a job's record.

    `status`: the HTTP status that fits the problem. `title`: by default the code in words.
    """
    title = title or code.replace("_", " ").capitalize()
    return {"code": code, "title": title, "detail": detail, "status": status, "retryable": retryable}


INTERNAL = problem("internal", "an error inside Unitrank; the operator finds its details in the worker's log", status=500)
"""The problem of a job that failed because of an error in the code."""

WORKER_TOO_OLD = problem(
    "worker_too_old",
    "the worker has an older version of Unitrank than the service, and cannot read this job; "
    "ask the operator to update the workers, then send the request again",
    status=503,
    retryable=True,
)
"""The problem of a job that only a newer worker can run."""
