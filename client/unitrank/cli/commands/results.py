"""`result`, `compare`, `gate`, `doctor`: what came out, and whether it will do."""

import shutil
import sys
import tempfile
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from unitrank.cli import doctor as looking
from unitrank.cli.compare import Compared, compared
from unitrank.cli.gate import Bounds, checks
from unitrank.cli.output import URL, AsJson, JobId, Url, give, opened, say, show
from unitrank.client.endpoints import part_of
from unitrank.client.sync import Client
from unitrank.errors import GateNotMet, NotPossible, UnitrankError, Unreachable
from unitrank.results import JobResult, add_summary, markdown
from unitrank_schemas.results import VERDICT_LABELS, Result

app = typer.Typer()

TYPES = {"json": "application/json", "csv": "text/csv", "npz": "application/x-npz", "safetensors": "application/vnd.safetensors"}
Saved = Annotated[
    str, typer.Argument(metavar="JOB", help="A job's id, or a file that `result --format json|npz` or JobResult.save wrote.")
]


class Format(StrEnum):
    """What a result comes as."""

    json = "json"
    csv = "csv"
    npz = "npz"
    safetensors = "safetensors"
    md = "md"


@app.command()
def result(
    job: JobId,
    format: Annotated[Format, typer.Option("--format", help="npz and safetensors hold every number.")] = Format.json,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file.", show_default="stdout")] = None,
    cluster: Annotated[str | None, typer.Option(help="This cluster alone; of json, csv and md.")] = None,
    ranking: Annotated[str | None, typer.Option(help="This ranking alone; of json, csv and md.")] = None,
    top: Annotated[int | None, typer.Option(min=1, help="So many units of each ranking; of json and csv.")] = None,
    url: Url = URL,
) -> None:
    """Fetch the result of a job that has succeeded."""
    whole = format in (Format.npz, Format.safetensors)
    if whole and part_of(cluster, ranking, top):
        raise NotPossible(
            f"{format} holds every number; --cluster, --ranking and --top are of json and csv", code="invalid_request"
        )
    if output is None and whole and sys.stdout.isatty():
        raise NotPossible(f"{format} is no text; name a file with --output", code="invalid_request")
    with opened(url) as client, ExitStack() as stack:
        file = output or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="unitrank-")), "result")
        handle = client.jobs.get(job)
        if format is Format.md:
            file.write_text(markdown(handle.summary(cluster=cluster, ranking=ranking)), encoding="utf-8")
        elif format is Format.npz:
            summary = handle.summary()
            handle.download(file, TYPES[format])
            # So that `compare` and `gate` read it.
            add_summary(file, summary)
        else:
            handle.download(file, TYPES[format], cluster=cluster, ranking=ranking, top=top)
        if output is None:
            with file.open("rb") as content:
                shutil.copyfileobj(content, sys.stdout.buffer)
            sys.stdout.buffer.flush()


@app.command()
def compare(first: Saved, second: Saved, url: Url = URL, as_json: AsJson = False) -> None:
    """Compare two results: verdicts, areas, and the rank correlation of each cluster."""
    with opened(url) as client:
        comparisons = compared(*(_result(client, each) for each in (first, second)))
    if as_json:
        give([each.as_json() for each in comparisons])
        return
    for each in comparisons:
        say(f"{each.ranking}: {_alike(each)}")
        rows = [
            ("verdict", *(VERDICT_LABELS.get(verdict, verdict) for verdict in each.verdicts)),
            ("clusters better", *each.better),
            ("mean area", *("–" if area is None else f"{area:.3f}" for area in each.areas)),
        ]
        show(("", first, second), rows)
        if each.correlations:
            show(("cluster", "rank correlation"), [(name, _shown(value)) for name, value in each.correlations.items()])


@app.command()
def gate(
    job: Saved,
    min_better_than_random: Annotated[float | None, typer.Option(help="Share of the clusters with that verdict, 0 to 1.")] = None,
    min_area: Annotated[float | None, typer.Option(help="Mean area over clusters.")] = None,
    max_gap: Annotated[float | None, typer.Option(help="Largest relative completeness gap of a cluster.")] = None,
    max_p: Annotated[float | None, typer.Option(help="p-value over all clusters.")] = None,
    forbid: Annotated[list[str] | None, typer.Option(help="Code of a warning that there may not be; repeat it.")] = None,
    ranking: Annotated[str | None, typer.Option(help="Which one is asked about.", show_default="the best")] = None,
    url: Url = URL,
    as_json: AsJson = False,
) -> None:
    """Exit with 0 only where a result is as good as is asked."""
    with opened(url) as client:
        summary = _summary(client, job)
    bounds = Bounds(min_better_than_random, min_area, max_gap, max_p, tuple(forbid or ()))
    conditions = checks(summary, bounds, ranking)
    if as_json:
        give({"met": all(check.met for check in conditions), "checks": [vars(check) for check in conditions]})
    else:
        show(("", "asked", "found"), [("met" if check.met else "NOT MET", check.wanted, check.found) for check in conditions])
    if not all(check.met for check in conditions):
        raise GateNotMet(
            f"{sum(not check.met for check in conditions)} of {len(conditions)} conditions are not met", code="gate_not_met"
        )


@app.command()
def doctor(url: Url = URL, as_json: AsJson = False) -> None:
    """Look at the service, the key, and what is installed here; say what is missing."""
    with opened(url, retries=0) as client:
        service = client.take(looking.of_service(client.calls, url))
    findings = [*service, *looking.of_installation(), *looking.of_folder(Path.cwd())]
    if as_json:
        give([vars(finding) for finding in findings])
    else:
        show(("", "", ""), [(_mark(finding), finding.what, finding.said) for finding in findings])
    if not service[0].good:
        raise Unreachable("the service does not answer", code="unreachable")
    if bad := [finding.what for finding in findings if finding.needed and not finding.good]:
        raise UnitrankError(f"not in order: {', '.join(bad)}", code="not_in_order")


def _mark(finding: looking.Finding) -> str:
    return "ok" if finding.good else "WRONG" if finding.needed else "–"


def _result(client: Client, job: str) -> JobResult:
    return _saved(job) if Path(job).is_file() else client.jobs.get(job).result(quiet=True)


def _summary(client: Client, job: str) -> Result:
    """Of a job, which must have ended, or of a file."""
    return _saved(job).summary if Path(job).is_file() else client.jobs.get(job).summary()


def _saved(path: str) -> JobResult:
    """What the file holds; a JSON has no arrays. Raises NotPossible."""
    try:
        return JobResult(Result.model_validate_json(Path(path).read_bytes(), extra="ignore"), {})
    except ValidationError:
        return JobResult.load(path)


def _alike(comparison: Compared) -> str:
    correlations = [value for value in comparison.correlations.values() if value is not None]
    if correlations:
        return f"rank correlation {min(correlations):.3f} to {max(correlations):.3f}"
    return "no rank correlation" + ("" if comparison.correlations else ", for which both need arrays, as a job or an .npz has")


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
