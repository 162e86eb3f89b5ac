"""Results that commands take by the id of a job, or from a file."""

from pathlib import Path
from typing import Annotated

import typer

from unitrank.client.sync import Client
from unitrank.errors import NotPossible
from unitrank.results import JobResult, LayeredJobResult, job_result, load_result, parsed_summary
from unitrank_schemas.results import LayeredResult, Result

Saved = Annotated[
    str, typer.Argument(metavar="JOB", help="Id of a job, or a file that `result --format json|npz` or JobResult.save wrote.")
]


def result_of(client: Client, job: str) -> JobResult:
    """The result of a job, or the result in a file."""
    return _saved(job) if is_file(job) else client.jobs.get(job).result(quiet=True)


def layer_result_of(client: Client, job: str, layer: str | None) -> JobResult:
    """The result of one layer. Raises NotPossible for several layers without `layer`."""
    result = result_of(client, job)
    if layer is not None:
        return result[layer]
    if isinstance(result, LayeredJobResult):
        names = ", ".join(result.layered_summary.parts())
        raise NotPossible(f"{job} has {len(result.layers)} layers; choose one with --layer: {names}", code="layer_missing")
    return result


def summary_of(client: Client, job: str) -> Result | LayeredResult:
    """The summary of a job, which must have succeeded, or of a file."""
    if not is_file(job):
        return client.jobs.get(job).any_summary()
    result = _saved(job)
    return result.layered_summary if isinstance(result, LayeredJobResult) else result.summary


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
        return job_result(parsed_summary(Path(path).read_bytes()), {})
    except ValueError:
        return load_result(path)
