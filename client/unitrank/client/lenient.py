"""Jobs as a service tells them that is newer than this client: of their requests also what is not known here is read."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny, ValidationError, model_serializer

from unitrank_schemas.jobs import DryRun, Job, JobRequest


class UnknownRequest(JobRequest, extra="allow"):
    """A request of which something, such as a method, is not known here: written as it was said, its values those of JSON."""

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
    """A job, whatever its request says."""

    request: Request


class LenientDryRun(DryRun):
    """A checked request, whatever it says."""

    request: Request
