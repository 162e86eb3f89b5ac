"""Errors as the client sees them: problem details after RFC 9457, with a stable code."""

from pydantic import Field

from unitrank_schemas.base import Schema


class Invalid(Schema):
    """One place of the request body that is wrong."""

    pointer: str = Field(description="JSON Pointer (RFC 6901) to the place in the body.", examples=["/layer"])
    detail: str = Field(description="What was wrong, what was got and what would be right.")
    code: str | None = Field(None, description="The place's own stable code.")


class Problem(Schema):
    """The body of every error that the application answers (`application/problem+json`)."""

    type: str = "about:blank"
    title: str
    status: int = Field(ge=400, le=599)
    detail: str
    code: str = Field(description="Stable; programs may branch on it.", examples=["layer_not_found"])
    request_id: str
    errors: list[Invalid] | None = Field(None, description="For 422: every place that is wrong.")


class JobProblem(Schema):
    """Why a job or a model ended without success."""

    code: str = Field(examples=["non_finite", "worker_lost"])
    title: str
    detail: str
    status: int = Field(422, ge=400, le=599)
    retryable: bool = Field(False, description="Whether the same request may succeed when it is sent again.")
    ranking: str | None = Field(None, description="The id of the ranking that failed, where it was one.", examples=["conductance"])
    finished: list[str] = Field(
        [],
        description="Rankings whose scores were finite as far as the job had come; `detail` says how to ask for them alone.",
    )
