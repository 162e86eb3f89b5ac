"""A problem as a job's record holds it."""

from unitrank_schemas.base import Json


def problem(code: str, detail: str, *, title: str | None = None, status: int = 422, retryable: bool = False) -> Json:
    """`status` is the HTTP status that stands for the problem; the title defaults to the code in words."""
    title = title or code.replace("_", " ").capitalize()
    return {"code": code, "title": title, "detail": detail, "status": status, "retryable": retryable}


INTERNAL = problem("internal", "an error of ours; its details are in the worker's log", status=500)
"""An error that no user can do anything about."""
