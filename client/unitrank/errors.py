"""What can go wrong on the client's side, and the exit code that a shell sees.

UnitrankError
├── NotSucceeded       1   it was accepted and did not come to a good end
│   ├── JobFailed          a job failed
│   ├── JobTimedOut        a job took longer than its request's `timeout`
│   ├── JobCancelled       a job was cancelled
│   └── Rejected           a model or a dataset was let in by nobody
├── GateNotMet         1   a result is not as good as was asked for
├── Refused            2   the service answered with a problem
│   ├── InvalidRequest     something in the request is wrong; `places` says where (400, 422 and the like)
│   ├── Unauthorized       there is no key, or a wrong one (401)
│   ├── Forbidden          the key lacks a scope (403)
│   ├── NotFound           there is nothing of this name (404)
│   ├── Conflict           not now: something else is in the way (409)
│   ├── Expired            it was there, and its time is over (410)
│   ├── TooLarge           more bytes than the service takes (413)
│   ├── RateLimited    3   too much at once; the same request may be taken later (429)
│   └── ServiceError   3   the service itself cannot (5xx)
├── NotPossible        2   it cannot be done here as asked: a port or a folder in use, a package that is not there
│   └── ExportRefused      a network that cannot be exported (`unitrank.exporting`)
├── Unreachable        3   the service or the store does not answer
└── Timeout          124   it went on for longer than the caller would wait
"""

from typing import ClassVar

from unitrank_schemas.problems import Invalid, JobProblem, Problem


class UnitrankError(Exception):
    """Anything that ends a command; `exit_code` is what its shell sees.

    `code` is stable and empty where there is none, `detail` says what would be right, `request_id` is in the service's log.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, code: str = "", detail: str = "", request_id: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.detail = detail or message
        self.request_id = request_id


class NotSucceeded(UnitrankError):
    """It was accepted and did not come to a good end."""


class JobFailed(NotSucceeded):
    """A job failed."""


class JobTimedOut(NotSucceeded):
    """A job took longer than its request's `timeout`."""


class JobCancelled(NotSucceeded):
    """A job was cancelled."""


class Rejected(NotSucceeded):
    """A model or a dataset was not let in."""


class GateNotMet(UnitrankError):
    """A result is not as good as was asked for."""


class Refused(UnitrankError):
    """The service answered with a problem; `status` is HTTP's."""

    exit_code = 2

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        detail: str = "",
        request_id: str | None = None,
        status: int = 422,
        places: list[Invalid] | None = None,
    ) -> None:
        super().__init__(message, code=code, detail=detail, request_id=request_id)
        self.status = status
        self.places = places or []


class InvalidRequest(Refused):
    """Something in the request is wrong; `places` says where, as JSON Pointers."""


class Unauthorized(Refused):
    """There is no key, or a wrong one."""


class Forbidden(Refused):
    """The key lacks a scope."""


class NotFound(Refused):
    """There is nothing of this name."""


class Conflict(Refused):
    """Not now: something else is in the way."""


class Expired(Refused):
    """It was there, and its time is over."""


class TooLarge(Refused):
    """More bytes than the service takes."""


class RateLimited(Refused):
    """Too much at once; the same request may be taken later."""

    exit_code = 3


class ServiceError(Refused):
    """The service itself cannot."""

    exit_code = 3


class NotPossible(UnitrankError):
    """It cannot be done here as asked."""

    exit_code = 2


class Unreachable(UnitrankError):
    """The service or the store does not answer."""

    exit_code = 3


class Timeout(UnitrankError):
    """It went on for longer than the caller would wait; nothing of it was stopped."""

    exit_code = 124


ENDS: dict[str, type[NotSucceeded]] = {
    "failed": JobFailed,
    "timed_out": JobTimedOut,
    "cancelled": JobCancelled,
    "rejected": Rejected,
}
"""The status that it ended with → the error."""

BY_CODE: dict[str, type[NotSucceeded]] = {"job_failed": JobFailed, "job_cancelled": JobCancelled, "job_timed_out": JobTimedOut}
"""Problems that say how a job ended."""

BY_STATUS: dict[int, type[Refused]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Expired,
    413: TooLarge,
    429: RateLimited,
}


def not_succeeded(what: str, status: str, problem: JobProblem | None) -> NotSucceeded:
    """The error of what ended with this status."""
    message = f"{what}: {status}" + (f" ({problem.code}): {problem.detail}" if problem else "")
    kind = ENDS.get(status, NotSucceeded)
    return kind(message, code=problem.code if problem else "", detail=problem.detail if problem else "")


def refusal(problem: Problem) -> UnitrankError:
    """The error of a problem that the service answered."""
    places = [f"{place.pointer}: {place.detail}" for place in problem.errors or []]
    message = "\n  ".join([f"{problem.code}: {problem.detail}", *places])
    if problem.code in BY_CODE:
        return BY_CODE[problem.code](message, code=problem.code, detail=problem.detail, request_id=problem.request_id)
    kind = BY_STATUS.get(problem.status, ServiceError if problem.status >= 500 else InvalidRequest)
    return kind(
        message,
        code=problem.code,
        detail=problem.detail,
        request_id=problem.request_id,
        status=problem.status,
        places=problem.errors,
    )
