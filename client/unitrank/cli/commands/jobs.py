"""`unitrank submit`, `wait`, `status`, `cancel`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from unitrank.cli.output import (
    URL,
    AsJson,
    JobId,
    Seconds,
    Url,
    open_client,
    parse_seconds,
    parse_value,
    print_json,
    print_message,
    print_table,
    read_request,
)
from unitrank.cli.set_fields import with_fields
from unitrank.client.jobs import JobHandle
from unitrank.client.progress import line_of
from unitrank.errors import NotPossible
from unitrank.results import summary_table
from unitrank.score_files import given_files

app = typer.Typer()


@app.command()
def submit(
    file: Annotated[Path | None, typer.Option("--file", "-f", help="File with the request, as JSON or YAML; `-` is stdin.")] = None,
    model: Annotated[str | None, typer.Option(help="Name of the model.")] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            help="Layer whose units are ranked; `unitrank layers` lists them. Repeat it for several layers, or give a pattern such "
            "as 'encoder.*'."
        ),
    ] = None,
    joint: Annotated[bool, typer.Option("--joint", help="Also rank the units of all layers together.")] = False,
    dataset: Annotated[str | None, typer.Option(help="Name of the dataset.")] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help='Name of a method, or an object such as {"name": "conductance", "steps": 50}; repeat it for several methods.'
        ),
    ] = None,
    clusters: Annotated[
        str | None,
        typer.Option(help='Groups of examples: all, label, prediction, field:NAME, or an object such as {"by": "members", …}.'),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="Any other request field, with its value as JSON, such as --set seed=7 or --set target.class=3; repeat it for "
            "several fields.",
        ),
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FILE",
            help="Scores that you bring (.npy, .npz or safetensors), ranked beside the methods under this name; repeat it for "
            "several files.",
        ),
    ] = None,
    made_on: Annotated[
        str | None,
        typer.Option(help="Boolean field of the dataset: the rows that made the given scores; `none` if no row made them."),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Run a new job even if an equal one exists.")] = False,
    idempotency_key: Annotated[
        str | None, typer.Option(help="A text of your choice; repeating the command with it does not start a second job.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check the request, and print the estimated cost.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the job has ended, and print its leaderboard.")] = False,
    timeout: Seconds = None,
    url: Url = URL,
    as_json: AsJson = False,
) -> None:
    """Submit a job, and print its id.

    The request comes from a file, from options, or from both; options override the file.
    """
    names = {"model": model, "layer": layer[0] if layer and len(layer) == 1 else layer or None, "dataset": dataset}
    request = _request(file, names | {"joint": joint or None}, method, clusters, set_ or [])
    scores = given_files(given or [], made_on)
    seconds = parse_seconds(timeout)
    with open_client(url) as service:
        client = service.within(seconds)
        if dry_run:
            checked = client.jobs.dry_run(request, given=scores)
            if as_json:
                print_json(checked)
            else:
                print_message(f"{checked.estimate.passes:,} passes, about {checked.estimate.seconds:.3g} s")
            return
        job = client.jobs.submit(request, fresh=fresh, idempotency_key=idempotency_key, given=scores)
        if wait:
            _wait(job, as_json)
        else:
            if not as_json:
                print_message(line_of(job.state))
            _print_job(job, as_json)


@app.command()
def wait(job: JobId, timeout: Seconds = None, url: Url = URL, as_json: AsJson = False) -> None:
    """Wait until a job has ended, and print its leaderboard."""
    seconds = parse_seconds(timeout)
    with open_client(url) as client:
        _wait(client.within(seconds).jobs.get(job), as_json)


@app.command()
def status(job: JobId, url: Url = URL, as_json: AsJson = False) -> None:
    """Show the status of a job."""
    with open_client(url) as client:
        state = client.jobs.get(job).state
    if as_json:
        print_json(state)
    else:
        print_message(line_of(state) + (f" ({state.problem.code}): {state.problem.detail}" if state.problem else ""))


@app.command()
def cancel(job: JobId, url: Url = URL, as_json: AsJson = False) -> None:
    """Cancel a job. A job that has ended is not changed."""
    with open_client(url) as client:
        state = client.jobs.get(job).cancel().state
    if as_json:
        print_json(state)
    else:
        print_message(line_of(state))


def _wait(job: JobHandle, as_json: bool) -> None:
    """Waits for the job. Prints its id or last state to stdout, also after a failure."""
    try:
        job.wait()
        if not as_json:
            print_message(line_of(job.state))
            print_table(*summary_table(job.any_summary(), job.class_names()))
    finally:
        _print_job(job, as_json)


def _print_job(job: JobHandle, as_json: bool) -> None:
    if as_json:
        print_json(job.state)
    else:
        print(job.id)


def _request(
    file: Path | None, names: Mapping[str, Any], methods: list[str] | None, clusters: str | None, assignments: list[str]
) -> dict[str, Any]:
    request: dict[str, Any] = read_request(file) if file else {}
    request |= {field: value for field, value in names.items() if value is not None}
    if methods:
        request["methods"] = [parse_value(method) for method in methods]
    if clusters:
        request["clusters"] = parse_clusters(clusters)
    request = with_fields(request, assignments)
    if not request:
        raise NotPossible("the request is empty; give --file, or --model, --layer, --dataset and --method", code="invalid_request")
    if not request.get("layer"):
        detail = f"the request has no layer; give --layer; unitrank layers {request.get('model') or 'MODEL'} lists the layers"
        raise NotPossible(detail, code="invalid_request")
    return request


def parse_clusters(text: str) -> Any:
    """The clusters of `--clusters`, such as `field:group`. Raises NotPossible."""
    value = parse_value(text)
    if isinstance(value, dict):
        return value
    by, colon, field = text.partition(":")
    return {"by": by, **({"field": field} if colon else {})}
