"""Reads the summary of a result, which a worker of another version may have written."""

from pydantic import ValidationError

from unitrank_schemas.results import Result
from unitrank_service.errors import HttpProblem


def parsed_result(summary: bytes) -> Result:
    """Return the result without the fields that this version does not know.

    `summary`: the result as JSON. Raises HttpProblem for a result that this version cannot read.
    """
    try:
        return Result.model_validate_json(summary, extra="ignore")
    except ValidationError as error:
        place = ".".join(map(str, error.errors()[0]["loc"]))
        detail = (
            f"a worker with a newer version of Unitrank than this service wrote the result, and its `{place}` is unknown here: "
            "ask the operator to update the service; GET /v1/jobs/{id}/result has the result already"
        )
        raise HttpProblem("service_too_old", detail) from error
