"""Reads the summary of a result, which a worker of another version may have written."""

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from unitrank_schemas.results import LayeredResult, Result
from unitrank_service.errors import HttpProblem

T = TypeVar("T", bound=BaseModel)


def parsed_result(summary: bytes) -> Result:
    """Return the result of one layer without the fields that this version does not know.

    `summary`: the result as JSON. Raises HttpProblem for a result that this version cannot read.
    """
    return _parsed(summary, Result)


def parsed_layers(summary: bytes) -> LayeredResult:
    """Return the result of several layers, as `parsed_result` does."""
    return _parsed(summary, LayeredResult)


def _parsed(summary: bytes, schema: type[T]) -> T:
    try:
        return schema.model_validate_json(summary, extra="ignore")
    except ValidationError as error:
        place = ".".join(map(str, error.errors()[0]["loc"]))
        detail = (
            f"a worker with a newer version of Unitrank than this service wrote the result, and its `{place}` is unknown here: "
            "ask the operator to update the service; GET /v1/jobs/{id}/result has the result already"
        )
        raise HttpProblem("service_too_old", detail) from error
