"""Turns an engine's error into the end of a job: its status and its problem."""

import re
from typing import Literal

from unitrank_engine.errors import Cancelled, EngineError, is_out_of_memory
from unitrank_schemas.base import Json
from unitrank_tables.errors import BadTable
from unitrank_worker.distributed.errors import RangeFailed
from unitrank_worker.problem import INTERNAL, problem

# After these errors every call to CUDA in the same process fails, so the process must end.
_SPOILED = re.compile(r"device-side assert|illegal memory access|CUDA error|CUDNN_STATUS", re.IGNORECASE)


def ending(error: Exception, run: str = "job") -> tuple[Literal["cancelled", "failed"], Json | None]:
    """The status and the problem of a job whose engine raised the error.

    `run`: `job` or `inspection`.
    """
    if isinstance(error, Cancelled):
        return "cancelled", None
    problem = _problem_of(error)
    return "failed", _not_inspected(error) if problem is INTERNAL and run == "inspection" else problem


def is_unexpected(problem: Json | None) -> bool:
    """Whether the operator needs the error's traceback: no check has foreseen the error."""
    return problem is not None and problem["code"] in (INTERNAL["code"], "inspection_failed")


def spoils_process(error: Exception) -> bool:
    """Whether the process can compute nothing after this error."""
    return _SPOILED.search(str(error)) is not None


def _problem_of(error: Exception) -> Json:
    if isinstance(error, EngineError):
        rankings = {"ranking": error.ranking, "finished": list(error.finished)}
        details = {name: value for name, value in rankings.items() if value}
        return problem(error.code, error.detail, retryable=error.retryable) | details
    if isinstance(error, RangeFailed):
        return error.problem
    if isinstance(error, BadTable):
        return problem(error.code, error.detail, status=500 if error.code == "dataset_corrupt" else 422)
    if is_out_of_memory(error):
        detail = (
            "the job needs more memory than the device has, or than the worker may use (UNITRANK_CHILD_MEMORY_BYTES); use fewer "
            "clusters or methods, or ask the operator for a worker with more memory"
        )
        return problem("out_of_memory", detail, status=500)
    if isinstance(error, IndexError) and "index out of range in self" in str(error):
        detail = "an integer input holds a value without an embedding; values must be from 0 to the embedding's rows − 1"
        return problem("input_out_of_range", detail)
    return INTERNAL


def _not_inspected(error: Exception) -> Json:
    kind = type(error).__name__
    return problem(
        "inspection_failed",
        f"the inspection of the model ended with a {kind}: torch cannot handle the program in the archive; "
        "export the network again with unitrank.export, and if that archive is rejected too, send it to the operator, "
        "who finds the error in the worker's log",
    )
