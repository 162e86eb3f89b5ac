"""The filters and the order of the list of jobs, from the query of a URL."""

from typing import Annotated, Any, Literal

from fastapi import Depends, Query, Request
from starlette.datastructures import QueryParams

from unitrank_schemas.jobs import JobStatus
from unitrank_schemas.problems import Invalid
from unitrank_service.errors import InvalidBody
from unitrank_store.jobs.listing.job_filter import JobFilter
from unitrank_store.jobs.listing.listing import MOST_CHARACTERS

METADATA = "metadata."
"""Beginning of the parameters that filter by an entry of the metadata."""
MOST_ENTRIES = 20
"""Entries of the metadata that a filter may name."""
MOST_WORDS = 10
"""Words that a search may have: the store compares each of them with the texts of all jobs, and
answers no other request meanwhile."""
METADATA_PARAMETERS: dict[str, Any] = {
    "parameters": [
        {
            "name": f"{METADATA}name",
            "in": "query",
            "description": "Only jobs whose metadata have this value for the key `name`; likewise `metadata.<key>` for each other "
            "key. Numbers and booleans are compared as JSON, and a list matches with each of its elements.",
            "schema": {"type": "string", "maxLength": MOST_CHARACTERS},
        }
    ]
}
"""The part of the OpenAPI document about `metadata.<key>`, whose name FastAPI cannot declare."""

VerdictName = Literal["better_than_random", "no_better_than_random", "worse_than_random", "undecided", "robust", "fragile"]
SortName = Literal["created_at", "area", "-created_at", "-area"]


Status = Annotated[JobStatus | None, Query(description="Only jobs with this status.")]
ModelName = Annotated[
    str | None, Query(max_length=MOST_CHARACTERS, description="Only jobs of this model: a name, or `name@sha256:…`.")
]
LayerName = Annotated[
    str | None, Query(max_length=MOST_CHARACTERS, description="Only jobs that rank this layer, alone or among others.")
]
DatasetName = Annotated[
    str | None, Query(max_length=MOST_CHARACTERS, description="Only jobs on this dataset: a name, or `name@sha256:…`.")
]
Verdict = Annotated[
    VerdictName | None,
    Query(
        description="Only jobs whose best ranking has this overall verdict. `robust` and `fragile` divide "
        "`better_than_random` by whether there are doubts."
    ),
]
Text = Annotated[
    str,
    Query(
        max_length=MOST_CHARACTERS,
        description="Only jobs with all these words in title, tags, notes, other metadata, names, methods or id. Case does not "
        f"matter, and a part of a word is enough. At most {MOST_WORDS} words.",
    ),
]
Sort = Annotated[
    SortName,
    Query(
        description="`created_at`: the newest first. `area`: the largest area of the best ranking first, and jobs without an "
        "area last. A leading `-` means the same."
    ),
]
Order = Annotated[Literal["desc", "asc"], Query(description="`asc` lists the oldest, or the smallest area, first.")]


def _filter(
    request: Request,
    status: Status = None,
    model: ModelName = None,
    layer: LayerName = None,
    dataset: DatasetName = None,
    verdict: Verdict = None,
    text: Text = "",
    sort: Sort = "created_at",
    order: Order = "desc",
) -> JobFilter:
    return JobFilter(
        status=status,
        model=model,
        layer=layer,
        dataset=dataset,
        verdict=verdict,
        metadata=metadata_of(request.query_params),
        text=_searched(text),
        sort="area" if sort.endswith("area") else "created_at",
        ascending=order == "asc",
    )


Filter = Annotated[JobFilter, Depends(_filter)]


def _searched(text: str) -> str:
    """Return the text of a search. Raises InvalidBody for too many words."""
    words = len(text.split())
    if words > MOST_WORDS:
        detail = f"the search has {words} words; at most {MOST_WORDS} are allowed"
        raise InvalidBody([Invalid(pointer="/query/text", detail=detail, code="invalid_parameter")])
    return text


def metadata_of(query: QueryParams) -> dict[str, str]:
    """Return the key → value pairs of the parameters `metadata.<key>`. Raises InvalidBody."""
    entries = {name.removeprefix(METADATA): value for name, value in query.items() if name.startswith(METADATA)}
    flaws = [
        Invalid(
            pointer=f"/query/{METADATA}{key[:100]}",
            detail=f"the value has {len(value)} characters; at most {MOST_CHARACTERS} are allowed",
            code="invalid_parameter",
        )
        for key, value in entries.items()
        if len(value) > MOST_CHARACTERS
    ]
    if len(entries) > MOST_ENTRIES:
        detail = f"the filter names {len(entries)} entries of the metadata; at most {MOST_ENTRIES} are allowed"
        flaws.append(Invalid(pointer="/query", detail=detail, code="invalid_parameter"))
    if flaws:
        raise InvalidBody(flaws)
    return entries
