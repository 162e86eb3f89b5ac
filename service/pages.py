"""The parameters of every list."""

from typing import Annotated

from fastapi import Query

Limit = Annotated[int, Query(ge=1, le=200, description="How many items at most.")]
After = Annotated[str | None, Query(max_length=256, description="The `next` of the page before.")]
