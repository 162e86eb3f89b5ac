"""What can go wrong on the client's side, and the exit code that a shell sees.

UnitrankError
├── NotSucceeded   1   a job or an inspection ended without success
├── Refused        2   the service refused the request (carries the problem's code and detail)
├── NotPossible    2   it cannot be done here as asked: a port or a folder in use, a device that is not there
└── Unreachable    3   the service or the store does not answer
"""

from typing import ClassVar

from api_schemas.problems import JobProblem, Problem


class UnitrankError(Exception):
    """Anything that ends a command; `exit_code` is what its shell sees."""

    exit_code: ClassVar[int] = 1


class NotSucceeded(UnitrankError):
    """A job or an inspection ended without success; `code` is stable, empty where it was cancelled."""

    def __init__(self, what: str, status: str, problem: JobProblem | None) -> None:
        super().__init__(f"{what}: {status}" + (f" ({problem.code}): {problem.detail}" if problem else ""))
        self.status = status
        self.code = problem.code if problem else ""
        self.detail = problem.detail if problem else ""


class Refused(UnitrankError):
    """The service answered with a problem; `code` is stable, `detail` says what would be right."""

    exit_code = 2

    def __init__(self, problem: Problem) -> None:
        places = [f"{place.pointer}: {place.detail}" for place in problem.errors or []]
        super().__init__("\n  ".join([f"{problem.code}: {problem.detail}", *places]))
        self.problem = problem
        self.code = problem.code
        self.detail = problem.detail


class NotPossible(UnitrankError):
    """It cannot be done here as asked."""

    exit_code = 2


class Unreachable(UnitrankError):
    """The service or the store does not answer."""

    exit_code = 3
