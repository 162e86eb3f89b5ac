"""`unitrank jobs`, which is also called `list`, and `unitrank edit`."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, cast, get_args

import typer

from unitrank.cli.output import URL, AsJson, JobId, Url, open_client, print_json, print_message, print_table
from unitrank.client.requests import JobFilters
from unitrank.errors import NotPossible
from unitrank_schemas.jobs import Job, JobStatus
from unitrank_schemas.results import VERDICT_LABELS

app = typer.Typer()

COLUMNS = ("job", "title", "status", "created (UTC)", "model", "dataset", "layer", "best ranking", "verdict", "strength", "area")
MISSING = "–"

Status = Annotated[str | None, typer.Option(help=f"Only jobs with this status: {', '.join(get_args(JobStatus))}.")]
Model = Annotated[str | None, typer.Option(help="Only jobs of this model.")]
Layer = Annotated[str | None, typer.Option(help="Only jobs on this layer.")]
Dataset = Annotated[str | None, typer.Option(help="Only jobs on this dataset.")]
Verdict = Annotated[
    str | None,
    typer.Option(help="Only jobs whose best ranking has this verdict, such as better_than_random; also robust or fragile."),
]
Metadata = Annotated[
    list[str] | None, typer.Option(metavar="KEY=VALUE", help="Only jobs with this value in their metadata; repeat it for several.")
]
Text = Annotated[str | None, typer.Option(help="Only jobs with all these words in title, tags, notes, names or methods.")]


def list_jobs(
    status: Status = None,
    model: Model = None,
    layer: Layer = None,
    dataset: Dataset = None,
    verdict: Verdict = None,
    metadata: Metadata = None,
    text: Text = None,
    sort: Annotated[str, typer.Option(help="created_at, or area: the jobs with the largest area first.")] = "created_at",
    order: Annotated[str, typer.Option(help="desc, or asc: the oldest, or the smallest area, first.")] = "desc",
    limit: Annotated[int, typer.Option(min=1, help="Largest number of jobs.")] = 50,
    url: Url = URL,
    as_json: AsJson = False,
) -> None:
    """List jobs, the newest first."""
    filters = filters_of(status=status, model=model, layer=layer, dataset=dataset, verdict=verdict, text=text)
    # Any: the service checks the values
    more: Any = {"metadata": pairs_of(metadata), "sort": sort, "order": order}
    with open_client(url) as client:
        records = client.jobs.list(limit, **(filters | more))
    if as_json:
        print_json(records)
    else:
        print_table(COLUMNS, rows_of(records))


app.command("jobs")(list_jobs)
app.command("list", hidden=True)(list_jobs)


@app.command()
def edit(
    job: JobId,
    name: Annotated[str | None, typer.Option(help="Title of the job; an empty text removes it.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Tag, in place of the present tags; repeat it for several.")] = None,
    notes: Annotated[str | None, typer.Option(help="Notes; an empty text removes them.")] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Names of the classes, such as cat,dog; or the name of a dataset's field of texts; an empty text removes them.",
        ),
    ] = None,
    url: Url = URL,
    as_json: AsJson = False,
) -> None:
    """Change the title, the tags, the notes or the names of the classes of a job."""
    entries: dict[str, Any] = {key: value or None for key, value in {"name": name, "notes": notes}.items() if value is not None}
    if tag is not None:
        entries["tags"] = [each for each in tag if each] or None
    if classes is not None:
        entries["classes"] = _class_names(classes)
    if not entries:
        raise NotPossible("nothing is to be changed; give --name, --tag, --notes or --classes", code="invalid_request")
    with open_client(url) as client:
        state = client.jobs.edit(job, **entries)
    if as_json:
        print_json(state)
    else:
        print_message(f"{state.id}: {title_of(state) or 'no title'}")


def filters_of(**values: str | None) -> JobFilters:
    """The filters that were given."""
    # cast: the names are those of the type, and the service checks the values
    return cast(JobFilters, {name: value for name, value in values.items() if value is not None})


def _class_names(text: str) -> list[str] | str | None:
    """The names between commas, or the name of a dataset's field; None for an empty text."""
    names = [name.strip() for name in text.split(",")]
    return names if len(names) > 1 else names[0] or None


def pairs_of(entries: Sequence[str] | None) -> dict[str, str]:
    """The key → value pairs of `KEY=VALUE` texts. Raises NotPossible."""
    pairs = [entry.partition("=") for entry in entries or []]
    for key, equals, _ in pairs:
        if not key or not equals:
            raise NotPossible(f"--metadata {key!r} is invalid: write KEY=VALUE, such as team=vision", code="invalid_request")
    return {key: value for key, _, value in pairs}


def rows_of(records: Sequence[Job]) -> Iterator[Sequence[str]]:
    """The rows of a table of jobs."""
    for job in records:
        summary = job.summary
        yield (
            job.id,
            title_of(job),
            job.status,
            f"{job.created_at:%Y-%m-%d %H:%M}",
            job.request.model,
            job.request.dataset if isinstance(job.request.dataset, str) else "in the request",
            ", ".join(job.request.layers),
            (summary and summary.best) or MISSING,
            VERDICT_LABELS[summary.verdict] if summary else MISSING,
            strength_of(summary.robust if summary and summary.verdict == "better_than_random" else None),
            MISSING if summary is None or summary.area is None else f"{summary.area:.3f}",
        )


def strength_of(robust: bool | None) -> str:
    """The strength of a verdict that is better than random, in a word."""
    return {True: "robust", False: "fragile", None: MISSING}[robust]


def title_of(job: Job) -> str:
    """The title of a job; empty without one."""
    name = job.request.metadata.get("name")
    return name if isinstance(name, str) else ""
