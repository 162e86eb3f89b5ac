"""The parameters that routes share: of lists, and the id of a job."""

import re
from typing import Annotated

from fastapi import Depends, Path, Query

from unitrank_service.errors import HttpProblem

Limit = Annotated[int, Query(ge=1, le=200, description="How many items at most.")]
After = Annotated[str | None, Query(max_length=256, description="The `next` of the page before.")]

_ID = re.compile(r"[0-9a-z]{26}")


async def _job_id(id: Annotated[str, Path(description="The job's id.")]) -> str:
    # Keys of the store are made of ids: whatever is none never gets there.
    if not _ID.fullmatch(id):
        raise HttpProblem("job_not_found", f"no job {id[:100]!r}")
    return id


Id = Annotated[str, Depends(_job_id)]
