"""The lines of the page with the list of jobs, and its filters."""

from typing import Any, get_args

from starlette.datastructures import QueryParams

from unitrank_schemas.class_names import given_names, named
from unitrank_schemas.jobs import JobStatus
from unitrank_schemas.result_text import number
from unitrank_schemas.results import VERDICT_LABELS
from unitrank_service.jobs.job_list import METADATA, MOST_ENTRIES, MOST_WORDS
from unitrank_service.web.job_line import STATES, layers_in_words, percent, title_without_name
from unitrank_store.jobs.listing.job_filter import JobFilter
from unitrank_store.jobs.listing.lines import JobLine
from unitrank_store.jobs.listing.listing import MOST_CHARACTERS, tags_of
from unitrank_store.jobs.record import JobRecord

Json = dict[str, Any]

VERDICTS = {
    "robust": "better than random, robust",
    "fragile": "better than random, fragile",
    **{verdict: label for verdict, label in VERDICT_LABELS.items() if verdict},
}
"""Values of the filter by verdict → their texts."""
SORTS = {
    "created_at": "newest first",
    "created_at,asc": "oldest first",
    "area": "largest area first",
    "area,asc": "smallest area first",
}
"""Values of the order → their texts."""
STRENGTHS = {True: "robust", False: "fragile"}


def chosen_filter(query: QueryParams) -> JobFilter:
    """Return the filter that the URL of the page names. Unknown values are left out."""

    def text(name: str) -> str | None:
        return query.get(name, "").strip()[:MOST_CHARACTERS] or None

    metadata = {name.removeprefix(METADATA): value for name, value in query.items() if name.startswith(METADATA) and value}
    sort, _, order = query.get("sort", "").partition(",")
    # Any: a checked value is one of the literals
    chosen: Any = {"status": query.get("status") if query.get("status") in get_args(JobStatus) else None}
    return JobFilter(
        **chosen,
        model=text("model"),
        layer=text("layer"),
        dataset=text("dataset"),
        verdict=query.get("verdict") if query.get("verdict") in VERDICTS else None,
        metadata={key: value[:MOST_CHARACTERS] for key, value in list(metadata.items())[:MOST_ENTRIES]},
        text=" ".join((text("text") or "").split()[:MOST_WORDS]),
        sort="area" if sort == "area" else "created_at",
        ascending=order == "asc",
    )


def query_of(filter: JobFilter) -> dict[str, str]:
    """Return the URL's parameters of a filter."""
    sort = filter.sort + (",asc" if filter.ascending else "")
    values = {
        "text": filter.text,
        "status": filter.status,
        "verdict": filter.verdict,
        "model": filter.model,
        "dataset": filter.dataset,
        "layer": filter.layer,
        "sort": sort if sort != "created_at" else "",
    }
    values |= {f"{METADATA}{key}": value for key, value in filter.metadata.items()}
    return {name: value for name, value in values.items() if value}


def line_view(line: JobLine) -> Json:
    """Return the values of a job's row in the list."""
    listing, summary = line.listing, line.summary or {}
    better = summary.get("verdict") == "better_than_random"
    # A single text is the name of a field of the dataset, which the list does not read.
    classes = listing["metadata"].get("classes", [])
    names = {number: name for number, name in given_names(classes).items() if name} if len(classes) > 1 else {}
    layers = listing.get("layers") or [listing["layer"]]
    return {
        "id": line.id,
        "status": line.status,
        "state": STATES[line.status],
        "ended": line.ended,
        "title": listing.get("name") or title_without_name(layers, listing["model"]),
        "tags": listing.get("tags", []),
        "notes": listing.get("notes", ""),
        "model": listing["model"].partition("@")[0],
        "dataset": (listing.get("dataset") or "in the request").partition("@")[0],
        "layer": layers_in_words(layers),
        "layers": ", ".join(layers),
        "methods": listing.get("methods", []),
        "submitted_by": listing.get("submitted_by") or "–",
        "created_at": line.created_at,
        "seconds": (line.finished_at - line.started_at) if line.finished_at and line.started_at else None,
        "percent": percent(line.progress) if line.status == "running" else None,
        "problem": (line.problem or {}).get("title") if line.status == "failed" else None,
        "best": named(summary.get("best") or "–", names),
        "verdict": VERDICT_LABELS.get(summary.get("verdict"), "–") if line.summary else "–",
        "strength": STRENGTHS.get(bool(summary.get("robust"))) if better else None,
        "area": number(summary.get("area")),
    }


def title_values(record: JobRecord) -> Json:
    """Return the title, the tags and the notes of a job; empty where they are missing."""
    metadata = record.request.get("metadata") or {}
    title, notes = (metadata.get(name) if isinstance(metadata.get(name), str) else "" for name in ("name", "notes"))
    return {"title": title, "tags": tags_of(metadata), "notes": notes}
