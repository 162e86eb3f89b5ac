"""Errors that end a request with a problem, and the table from a problem's code to its status.

HttpProblem          the request is answered with a problem; the problem's code decides the status
└── InvalidBody      parts of the body or of the query are invalid; always 422
"""

from collections.abc import Mapping

from starlette.exceptions import HTTPException

from unitrank_schemas.checks import RequestRejected
from unitrank_schemas.problems import Invalid

STATUS: dict[str, int] = {
    "malformed_json": 400,
    "host_not_allowed": 400,
    "prefix_invalid": 400,
    "incomplete_body": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "cross_site": 403,
    "not_found": 404,
    "model_not_found": 404,
    "dataset_not_found": 404,
    "method_not_found": 404,
    "job_not_found": 404,
    "cluster_not_found": 404,
    "ranking_not_found": 404,
    "layer_not_found": 404,
    "row_not_found": 404,
    "field_not_found": 404,
    "unit_not_found": 404,
    "method_not_allowed": 405,
    "not_acceptable": 406,
    "conflict": 409,
    "model_in_use": 409,
    "dataset_in_use": 409,
    "dataset_not_ready": 409,
    "job_not_ended": 409,
    "not_finished": 409,
    "job_failed": 409,
    "job_cancelled": 409,
    "job_timed_out": 409,
    "expired": 410,
    "body_too_large": 413,
    "model_too_large": 413,
    "dataset_too_large": 413,
    "unsupported_media_type": 415,
    "invalid_request": 422,
    "queue_full": 429,
    "webhook_limit": 429,
    "too_many_waits": 429,
    "internal": 500,
    "store_unavailable": 503,
    "dataset_corrupt": 500,
    "drawing_too_slow": 500,
    "store_full": 503,
    "no_worker": 503,
    "service_too_old": 503,
}
"""Code → HTTP status. A code that is not in the table concerns a part of the body and is 422."""


class HttpProblem(HTTPException):
    """Ends the request with a problem.

    `code`: stable name of the problem, see `STATUS`. `detail`: the sentence for the client.
    `headers`: extra headers of the response. `errors`: the invalid parts of the body.
    """

    # An HTTPException: FastAPI turns each other exception that is raised while it reads a body into
    # a 400.
    def __init__(
        self, code: str, detail: str, headers: Mapping[str, str] | None = None, errors: list[Invalid] | None = None
    ) -> None:
        super().__init__(STATUS.get(code, 422), detail, dict(headers) if headers else None)
        self.code = code
        self.errors = errors


class InvalidBody(HttpProblem):
    """Ends the request with 422. The problem has the code and the detail of the first error."""

    def __init__(self, errors: list[Invalid]) -> None:
        first = errors[0]
        super().__init__(first.code or "invalid_request", first.detail, errors=errors)
        # Some codes, such as `model_not_found`, are 404 if the URL holds the name.
        self.status_code = 422

    @classmethod
    def of(cls, rejected: RequestRejected) -> "InvalidBody":
        """Return the problem of a request that the checks rejected: one error for each flaw."""
        return cls([Invalid(pointer=flaw.pointer, detail=flaw.detail, code=flaw.code) for flaw in rejected.flaws])
