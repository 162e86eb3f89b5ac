"""`submit`, `wait`, `status`, `list`, `cancel`: jobs on their way."""

from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from unitrank.cli.output import URL, AsJson, JobId, Seconds, Url, document, give, opened, say, seconds_of, show, value_of
from unitrank.client.progress import line_of
from unitrank.client.sync import JobHandle
from unitrank.errors import NotPossible
from unitrank.results import LEADER_COLUMNS, leader_rows
from unitrank_schemas.jobs import JobStatus

app = typer.Typer()


@app.command()
def submit(
    file: Annotated[Path | None, typer.Option("--file", "-f", help="The request as JSON or YAML; `-` is stdin.")] = None,
    model: Annotated[str | None, typer.Option()] = None,
    layer: Annotated[str | None, typer.Option()] = None,
    dataset: Annotated[str | None, typer.Option()] = None,
    method: Annotated[
        list[str] | None, typer.Option(help='A name, or an object such as {"name": "conductance", "steps": 50}; repeat it.')
    ] = None,
    clusters: Annotated[
        str | None, typer.Option(help='all, label, prediction, field:NAME, or an object such as {"by": "members", …}.')
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Any other field of a request; the value as JSON.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Run it even where an equal job is known.")] = False,
    idempotency_key: Annotated[str | None, typer.Option(help="Sent twice under this key it is one job.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check it, and say what it would cost.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Until it has ended, and show the leaderboard.")] = False,
    timeout: Seconds = None,
    url: Url = URL,
    as_json: AsJson = False,
) -> None:
    """Submit a job and print its id; the request comes from a file, from flags, or from both, of which flags count."""
    request = _request(file, {"model": model, "layer": layer, "dataset": dataset}, method, clusters, set_ or [])
    seconds = seconds_of(timeout)
    with opened(url) as service:
        client = service.within(seconds)
        if dry_run:
            checked = client.jobs.dry_run(request)
            if as_json:
                give(checked)
            else:
                say(f"{checked.estimate.passes:,} passes, about {checked.estimate.seconds:.3g} s")
            return
        job = client.jobs.submit(request, fresh=fresh, idempotency_key=idempotency_key)
        if wait:
            _wait(job, as_json)
        else:
            if not as_json:
                say(line_of(job.state))
            _name(job, as_json)


@app.command()
def wait(job: JobId, timeout: Seconds = None, url: Url = URL, as_json: AsJson = False) -> None:
    """Wait until a job has ended, and show its leaderboard."""
    seconds = seconds_of(timeout)
    with opened(url) as client:
        _wait(client.within(seconds).jobs.get(job), as_json)


@app.command()
def status(job: JobId, url: Url = URL, as_json: AsJson = False) -> None:
    """Say how a job is."""
    with opened(url) as client:
        state = client.jobs.get(job).state
    if as_json:
        give(state)
    else:
        say(line_of(state) + (f" ({state.problem.code}): {state.problem.detail}" if state.problem else ""))


@app.command("list")
def list_jobs(
    status: Annotated[str | None, typer.Option(help=f"{', '.join(get_args(JobStatus))}.")] = None,
    model: Annotated[str | None, typer.Option(help="Of this model alone.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    url: Url = URL,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    parameter: Any = status
    with opened(url) as client:
        records = client.jobs.list(limit, status=parameter, model=model)
    if as_json:
        give(records)
    else:
        rows = [(job.id, job.status, f"{job.created_at:%Y-%m-%d %H:%M}", job.request.model, job.request.layer) for job in records]
        show(("job", "status", "created (UTC)", "model", "layer"), rows)


@app.command()
def cancel(job: JobId, url: Url = URL, as_json: AsJson = False) -> None:
    """Cancel a job; one that has ended stays as it is."""
    with opened(url) as client:
        state = client.jobs.get(job).cancel().state
    if as_json:
        give(state)
    else:
        say(line_of(state))


def _wait(job: JobHandle, as_json: bool) -> None:
    """Whatever its end, stdout has the job's id, or its last state."""
    try:
        job.wait()
        if not as_json:
            say(line_of(job.state))
            show(LEADER_COLUMNS, leader_rows(job.summary()))
    finally:
        _name(job, as_json)


def _name(job: JobHandle, as_json: bool) -> None:
    if as_json:
        give(job.state)
    else:
        print(job.id)


def _request(
    file: Path | None, names: dict[str, str | None], methods: list[str] | None, clusters: str | None, others: list[str]
) -> dict[str, Any]:
    request: dict[str, Any] = document(file) if file else {}
    request |= {field: value for field, value in names.items() if value is not None}
    if methods:
        request["methods"] = [value_of(method) for method in methods]
    if clusters:
        request["clusters"] = _clusters(clusters)
    for words in others:
        field, equals, value = words.partition("=")
        if not equals or not field:
            raise NotPossible(f"--set {words!r} says no field; write FIELD=VALUE, such as seed=7", code="invalid_request")
        request[field] = value_of(value)
    if not request:
        raise NotPossible("there is no request; give --file, or --model, --layer, --dataset and --method", code="invalid_request")
    return request


def _clusters(words: str) -> Any:
    value = value_of(words)
    if isinstance(value, dict):
        return value
    by, colon, field = words.partition(":")
    return {"by": by, **({"field": field} if colon else {})}
