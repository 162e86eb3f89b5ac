"""Results that commands take by the id of a job, or from a file."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from unitrank.client.sync import Client
from unitrank.errors import NotPossible
from unitrank.results import JobResult
from unitrank_schemas.results import Result

Saved = Annotated[
    str, typer.Argument(metavar="JOB", help="Id of a job, or a file that `result --format json|npz` or JobResult.save wrote.")
]


def result_of(client: Client, job: str) -> JobResult:
    """The result of a job, or the result in a file."""
    return _saved(job) if is_file(job) else client.jobs.get(job).result(quiet=True)


def summary_of(client: Client, job: str) -> Result:
    """The summary of a job, which must have succeeded, or of a file."""
    return _saved(job).summary if is_file(job) else client.jobs.get(job).summary()


def is_file(job: str) -> bool:
    """Whether the argument is a file. Raises NotPossible for a path without a file.

    An id has neither dots nor slashes.
    """
    if Path(job).is_file():
        return True
    if "." in job or "/" in job:
        raise NotPossible(f"the file {job} does not exist; give the id of a job, or the path of a saved result", code="no_file")
    return False


def _saved(path: str) -> JobResult:
    """The result in a file; a JSON file has no arrays. Raises NotPossible."""
    try:
        return JobResult(Result.model_validate_json(Path(path).read_bytes(), extra="ignore"), {})
    except ValidationError:
        return JobResult.load(path)
