"""Jobs of a service that is newer than this client: unknown fields of their requests are kept."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny, ValidationError, model_serializer

from unitrank_schemas.jobs import DryRun, Job, JobRequest


class UnknownRequest(JobRequest, extra="allow"):
    """A request with a part that this client does not know, such as a new method.

    Its values are the plain values of the JSON. The request is written as it was read.
    """

    @model_serializer(mode="plain")
    def _serialized(self) -> dict[str, Any]:
        fields = {name: value for name, value in vars(self).items() if name in self.model_fields_set}
        return {**fields, **(self.model_extra or {})}


def _request(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    try:
        return JobRequest.model_validate_json(json.dumps(value), extra="ignore")
    except ValidationError:
        return UnknownRequest.model_construct(**value)


Request = Annotated[SerializeAsAny[JobRequest], BeforeValidator(_request)]


class LenientJob(Job):
    """A job whose request may have fields that this client does not know."""

    request: Request


class LenientDryRun(DryRun):
    """A checked request that may have fields that this client does not know."""

    request: Request
