"""The parameters that several routes share: limit and cursor of a list, and the id of a job."""

import re
from typing import Annotated

from fastapi import Depends, Path, Query

from unitrank_service.errors import HttpProblem

Limit = Annotated[int, Query(ge=1, le=200, description="Maximum number of items in the answer.")]
After = Annotated[str | None, Query(max_length=256, description="Cursor: the value of `next` of the previous page.")]

_ID = re.compile(r"[0-9a-z]{26}")


async def _job_id(id: Annotated[str, Path(description="The job's id.")]) -> str:
    # Redis keys contain the id, so a text that is not an id is rejected before the store is read.
    if not _ID.fullmatch(id):
        raise HttpProblem("job_not_found", f"job {id[:100]!r} not found; a job's id has 26 digits and lowercase letters")
    return id


Id = Annotated[str, Depends(_job_id)]
