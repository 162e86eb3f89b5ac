"""How an engine's error becomes the end of a job: its status and its problem, without a traceback."""

import re
from typing import Literal

from unitrank_engine.errors import Cancelled, EngineError
from unitrank_schemas.base import Json
from unitrank_worker.problem import INTERNAL, problem

# After these a CUDA context answers every further call with an error: the process has to go.
_SPOILED = re.compile(r"device-side assert|illegal memory access|CUDA error|CUDNN_STATUS", re.IGNORECASE)


def ending(error: Exception) -> tuple[Literal["cancelled", "failed"], Json | None]:
    """The status and the problem of a job whose engine raised this error."""
    if isinstance(error, Cancelled):
        return "cancelled", None
    return "failed", _problem_of(error)


def spoils_process(error: Exception) -> bool:
    """Whether nothing can be computed in this process any more."""
    return _SPOILED.search(str(error)) is not None


def _problem_of(error: Exception) -> Json:
    if isinstance(error, EngineError):
        about = {"ranking": error.ranking, "finished": list(error.finished)}
        details = {name: value for name, value in about.items() if value}
        return problem(error.code, error.detail, retryable=error.retryable) | details
    if _is_out_of_memory(error):
        return problem("out_of_memory", "the memory of the device, or what a worker may take, was not enough", status=500)
    if isinstance(error, IndexError) and "index out of range in self" in str(error):
        detail = (
            "an integer input holds an index that the model has no embedding for; its values must lie below the embedding's rows"
        )
        return problem("input_out_of_range", detail)
    return INTERNAL


def _is_out_of_memory(error: Exception) -> bool:
    # By name: torch.OutOfMemoryError, without importing torch where it is not in use.
    named = isinstance(error, MemoryError) or "OutOfMemoryError" in {kind.__name__ for kind in type(error).__mro__}
    return named or "DefaultCPUAllocator: can't allocate memory" in str(error)
