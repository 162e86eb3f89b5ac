"""Errors of the engine become statuses and problems of jobs."""

import pytest

from unitrank_engine.errors import Cancelled, EngineError
from unitrank_schemas.problems import JobProblem
from unitrank_tables.errors import BadTable
from unitrank_worker.failures import ending, is_unexpected, spoils_process


class OutOfMemoryError(RuntimeError):
    """An error with the name of torch's."""


@pytest.mark.parametrize(
    ("error", "code", "retryable"),
    [
        (EngineError("non_finite", "nan"), "non_finite", False),
        (EngineError("busy", "later", retryable=True), "busy", True),
        (BadTable("dataset_corrupt", "its bytes have changed"), "dataset_corrupt", False),
        (MemoryError(), "out_of_memory", False),
        (OutOfMemoryError("CUDA out of memory"), "out_of_memory", False),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"), "out_of_memory", False),
        (IndexError("index out of range in self"), "input_out_of_range", False),
        (IndexError("list index out of range"), "internal", False),
        (ZeroDivisionError("secret"), "internal", False),
    ],
)
def test_error_when_it_ends_a_job_then_is_a_whole_problem(error: Exception, code: str, retryable: bool) -> None:
    status, problem = ending(error)

    assert (status, problem is not None) == ("failed", True)
    assert problem is not None
    assert (problem["code"], problem["retryable"]) == (code, retryable)
    assert set(problem) == {"code", "title", "detail", "status", "retryable"}
    assert "secret" not in str(problem)


@pytest.mark.parametrize("error", [ZeroDivisionError("secret"), RuntimeError("secret"), RecursionError()])
def test_error_when_no_check_foresees_it_then_ends_an_inspection_with_a_code_and_is_logged(error: Exception) -> None:
    status, problem = ending(error, "inspection")

    assert problem is not None
    assert (status, problem["code"], problem["status"]) == ("failed", "inspection_failed", 422)
    assert type(error).__name__ in problem["detail"]
    assert "secret" not in str(problem)
    assert is_unexpected(problem)


def test_error_when_a_ranking_failed_then_the_problem_names_it_and_the_finished_rankings() -> None:
    _, problem = ending(EngineError("non_finite", "nan").for_ranking("conductance", ["gradient", "random"]))

    assert problem is not None
    job_problem = JobProblem.model_validate(problem)
    assert (job_problem.ranking, job_problem.finished) == ("conductance", ["gradient", "random"])
    assert job_problem.detail == "ranking 'conductance': nan; repeat the request without 'conductance' to get 'gradient', 'random'"


def test_cancel_when_noticed_then_is_not_a_failure() -> None:
    assert ending(Cancelled("x")) == ("cancelled", None)


def test_process_when_its_device_has_failed_then_is_spoiled() -> None:
    assert spoils_process(RuntimeError("CUDA error: an illegal memory access was encountered"))
    assert not spoils_process(OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
    assert not spoils_process(ValueError("no"))
