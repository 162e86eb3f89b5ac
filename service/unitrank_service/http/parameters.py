"""The parameters that several routes share: those of lists, names of contents, and a job's id."""

import re
from typing import Annotated

from fastapi import Depends, Path, Query

from unitrank_schemas.base import NAME
from unitrank_service.errors import HttpProblem

Limit = Annotated[int, Query(ge=1, le=200, description="Maximum number of items in the answer.")]
After = Annotated[str | None, Query(max_length=256, description="Cursor: the value of `next` of the previous page.")]
NewName = Annotated[str, Path(pattern=f"^{NAME}$", description="A name of 1 to 128 letters, digits, dots, dashes and underscores.")]
Reference = Annotated[str, Path(description="`name` for its newest content, or `name@sha256:…` for the content with that digest.")]

_ID = re.compile(r"[0-9a-z]{26}")


async def _job_id(id: Annotated[str, Path(description="The job's id.")]) -> str:
    return checked_id(id)


def checked_id(id: str) -> str:
    """Return the id of a job. Raises HttpProblem for a text that cannot be an id."""
    # Redis keys contain the id, so a text that is not an id is rejected before the store is read.
    if not _ID.fullmatch(id):
        raise HttpProblem("job_not_found", f"job {id[:100]!r} not found; a job's id has 26 digits and lowercase letters")
    return id


Id = Annotated[str, Depends(_job_id)]


OneLayer = Annotated[
    str | None,
    Query(
        max_length=512,
        description="A layer of a job with a list of layers, or `joint` for the units of all its layers together. Default: its "
        "first layer.",
    ),
]
"""The layer of a result."""
