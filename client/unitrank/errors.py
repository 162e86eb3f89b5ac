"""The errors of the client, and the exit code of a command that ends with each of them.

UnitrankError
├── NotSucceeded       1   a job or an upload that the service accepted did not succeed
│   ├── JobFailed          the job failed
│   ├── JobTimedOut        the job ran longer than the `timeout` of its request
│   ├── JobCancelled       the job was cancelled
│   └── Rejected           the service did not accept an uploaded model or dataset
├── GateNotMet         1   a result does not meet the conditions of `unitrank gate`
├── Refused            2   the service answered with a problem
│   ├── InvalidRequest     a field of the request is wrong (400, 422 and other 4xx)
│   ├── Unauthorized       the key is missing or wrong (401)
│   ├── Forbidden          the key lacks a scope (403)
│   ├── NotFound           nothing has this name or id (404)
│   ├── Conflict           the state of a job or content does not allow the request (409)
│   ├── Expired            the result was deleted after its time to live (410)
│   ├── TooLarge           the upload is larger than the service accepts (413)
│   ├── RateLimited    3   too many requests or jobs; the same request may succeed later (429)
│   └── ServiceError   3   the service failed, or cannot serve now (5xx)
├── NotPossible        2   wrong arguments, a port in use, a missing package
│   └── ExportRefused      the network cannot be exported (`unitrank.exporting`)
├── Unreachable        3   the service or the store does not answer
└── Timeout          124   the call took longer than its `timeout`
"""

from typing import ClassVar

from unitrank_schemas.problems import Invalid, JobProblem, Problem


class UnitrankError(Exception):
    """The base class of all errors of the client.

    Attributes:
        exit_code: the exit code of a command that ends with this error.
        code: stable name of the error, such as `layer_not_found`; empty if it has none.
        detail: what is wrong, the value that was given, and what is accepted.
        request_id: id of the request in the service's log; None if no request was answered.

    >>> try:
    ...     client.models.get("mine")
    ... except unitrank.UnitrankError as error:
    ...     print(error.code, error.exit_code)
    model_not_found 2
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, code: str = "", detail: str = "", request_id: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.detail = detail or message
        self.request_id = request_id


class NotSucceeded(UnitrankError):
    """A job or an upload that the service accepted did not succeed.

    >>> try:
    ...     job.wait()
    ... except unitrank.NotSucceeded as error:
    ...     print(job.status, error.code)
    failed out_of_memory
    """


class JobFailed(NotSucceeded):
    """The job failed. `code` names the reason, such as `out_of_memory`.

    >>> try:
    ...     job.wait()
    ... except unitrank.JobFailed as error:
    ...     print(error.code)
    out_of_memory
    """


class JobTimedOut(NotSucceeded):
    """The job ran longer than the `timeout` of its request.

    >>> try:
    ...     job.wait()
    ... except unitrank.JobTimedOut:
    ...     print(job.state.request.timeout)
    3600
    """


class JobCancelled(NotSucceeded):
    """The job was cancelled.

    >>> try:
    ...     job.wait()
    ... except unitrank.JobCancelled:
    ...     print(job.status)
    cancelled
    """


class Rejected(NotSucceeded):
    """The service did not accept an uploaded model or dataset.

    >>> try:
    ...     client.models.wait("mine")
    ... except unitrank.Rejected as error:
    ...     print(error.code)
    static_batch
    """


class GateNotMet(UnitrankError):
    """A result does not meet the conditions of `unitrank gate`."""


class Refused(UnitrankError):
    """The service answered with a problem.

    Attributes:
        status: the HTTP status of the answer.
        places: the wrong fields of the request, each with its JSON Pointer and what is wrong.

    >>> try:
    ...     client.models.get("mine")
    ... except unitrank.Refused as error:
    ...     print(error.status)
    404
    """

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
    """A field of the request is wrong. `places` lists the wrong fields.

    >>> try:
    ...     client.jobs.submit(model="net", layer="conv9", dataset="data", methods=["gradient"])
    ... except unitrank.InvalidRequest as error:
    ...     print(error.places[0].pointer, error.places[0].detail)
    /layer layer 'conv9' not found; nearest: 'conv1'
    """


class Unauthorized(Refused):
    """The key is missing or wrong. Give the right one: `unitrank.Client(url, key)`.

    >>> try:
    ...     client.models.list()
    ... except unitrank.Unauthorized as error:
    ...     print(error.status)
    401
    """


class Forbidden(Refused):
    """The key lacks a scope: `read`, `write`, `models` or `admin`.

    >>> try:
    ...     client.models.delete("mine")
    ... except unitrank.Forbidden as error:
    ...     print(error.status)
    403
    """


class NotFound(Refused):
    """Nothing has this name or id.

    >>> try:
    ...     client.models.get("mine")
    ... except unitrank.NotFound as error:
    ...     print(error.code)
    model_not_found
    """


class Conflict(Refused):
    """The state of a job or content does not allow the request.

    The job still runs, or a job still needs the content.

    >>> try:
    ...     job.summary()
    ... except unitrank.Conflict as error:
    ...     print(error.code)
    not_finished
    """


class Expired(Refused):
    """The result was deleted after its time to live. Submit the job again.

    >>> try:
    ...     job.summary()
    ... except unitrank.Expired as error:
    ...     print(error.code)
    expired
    """


class TooLarge(Refused):
    """The upload is larger than the service accepts.

    >>> try:
    ...     client.datasets.put("points", x=[[0.5, 1.0]])
    ... except unitrank.TooLarge as error:
    ...     print(error.code)
    dataset_too_large
    """


class RateLimited(Refused):
    """Too many requests or jobs, also after the repeats. The same request may succeed later.

    >>> try:
    ...     client.jobs.submit(model="net", layer="1", dataset="data", methods=["gradient"])
    ... except unitrank.RateLimited as error:
    ...     print(error.code, error.exit_code)
    queue_full 3
    """

    exit_code = 3


class ServiceError(Refused):
    """The service failed, or cannot serve now, also after the repeats.

    >>> try:
    ...     client.methods()
    ... except unitrank.ServiceError as error:
    ...     print(error.status, error.exit_code)
    503 3
    """

    exit_code = 3


class NotPossible(UnitrankError):
    """This machine cannot carry out the call: wrong arguments, a port in use, a missing package.

    >>> try:
    ...     unitrank.Client("localhost")
    ... except unitrank.NotPossible as error:
    ...     print(error.code)
    invalid_url
    """

    exit_code = 2


class Unreachable(UnitrankError):
    """The service or the store does not answer.

    >>> try:
    ...     unitrank.Client("http://127.0.0.1:1", retries=0).methods()
    ... except unitrank.Unreachable as error:
    ...     print(error.code, error.exit_code)
    unreachable 3
    """

    exit_code = 3


class Timeout(UnitrankError):
    """The call took longer than its `timeout`. The job or the inspection goes on.

    >>> try:
    ...     job.wait(timeout=0)
    ... except unitrank.Timeout as error:
    ...     print(job.status, error.exit_code)
    running 124
    """

    exit_code = 124


ENDS: dict[str, type[NotSucceeded]] = {
    "failed": JobFailed,
    "timed_out": JobTimedOut,
    "cancelled": JobCancelled,
    "rejected": Rejected,
}
"""The last status of a job or content → its error."""

BY_CODE: dict[str, type[NotSucceeded]] = {"job_failed": JobFailed, "job_cancelled": JobCancelled, "job_timed_out": JobTimedOut}
"""The code of a problem that names a job's end → its error."""

BY_STATUS: dict[int, type[Refused]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Expired,
    413: TooLarge,
    429: RateLimited,
}
"""The HTTP status of a problem → its error."""


def not_succeeded(subject: str, status: str, problem: JobProblem | None) -> NotSucceeded:
    """The error of a job or content with this last status. `subject` begins the message."""
    message = f"{subject}: {status}" + (f" ({problem.code}): {problem.detail}" if problem else "")
    kind = ENDS.get(status, NotSucceeded)
    return kind(message, code=problem.code if problem else "", detail=problem.detail if problem else "")


def refusal(problem: Problem) -> UnitrankError:
    """The error for a problem that the service sent."""
    message = f"{problem.code}: {_mistakes(problem)}"
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


def _mistakes(problem: Problem) -> str:
    """The detail with its place in the request, or one line for each of several places."""
    places = problem.errors or []
    if [place.detail for place in places] == [problem.detail]:
        pointer = places[0].pointer
        return problem.detail + (f" (at {pointer})" if pointer else "")
    first = f"the request has {len(places)} mistakes" if len(places) > 1 else problem.detail
    return "\n  ".join([first, *(f"{place.pointer}: {place.detail}" for place in places)])
