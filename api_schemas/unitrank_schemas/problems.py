"""Problems: the errors that clients get, as problem details (RFC 9457) with a stable code."""

from pydantic import Field

from unitrank_schemas.base import Schema


class Invalid(Schema):
    """One wrong place of the request."""

    pointer: str = Field(description="JSON Pointer (RFC 6901) to the place in the body.", examples=["/layer"])
    detail: str = Field(description="The error at this place: the value that was given, and what is accepted.")
    code: str | None = Field(None, description="Stable code of the error at this place.")


class Problem(Schema):
    """The body of every error answer (`application/problem+json`)."""

    type: str = "about:blank"
    title: str
    status: int = Field(ge=400, le=599, description="The HTTP status.")
    detail: str = Field(description="The error, the value that was given, what is accepted, and the next step.")
    code: str = Field(description="Stable; programs may branch on it.", examples=["layer_not_found"])
    request_id: str = Field(description="Id of the request in the log of the service.")
    errors: list[Invalid] | None = Field(None, description="For 422: every wrong place, at most 100.")


class JobProblem(Schema):
    """Why a job failed, or a model or dataset was rejected."""

    code: str = Field(examples=["non_finite", "worker_lost"])
    title: str
    detail: str
    status: int = Field(422, ge=400, le=599, description="The HTTP status that fits the problem.")
    retryable: bool = Field(False, description="Whether the same request may succeed when it is sent again.")
    ranking: str | None = Field(
        None, description="Id of the ranking that failed; null if the whole job failed.", examples=["conductance"]
    )
    finished: list[str] = Field(
        [],
        description="Rankings whose scores were finite until the job failed; `detail` explains how to request only these.",
    )
