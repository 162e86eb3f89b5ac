"""`unitrank result`, `unit`, `mask`, `gate`, `doctor`."""

import os
import shutil
import sys
import tempfile
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from unitrank.cli import doctor as checkup
from unitrank.cli.display import UNIT_COLUMNS, unit_lines
from unitrank.cli.gate import Bounds, checks
from unitrank.cli.output import URL, AsJson, JobId, Url, open_client, print_json, print_message, print_table
from unitrank.cli.saved_results import Saved, layer_result_of, summary_of
from unitrank.client.requests import result_query
from unitrank.errors import GateNotMet, NotPossible, UnitrankError, Unreachable
from unitrank.results import add_summary, markdown
from unitrank_schemas.class_names import OF_CLASSES

app = typer.Typer()

GATE_COLUMNS = ("", "layer", "condition", "value")
TYPES = {"json": "application/json", "csv": "text/csv", "npz": "application/x-npz", "safetensors": "application/vnd.safetensors"}


class Format(StrEnum):
    """The formats of `unitrank result`."""

    json = "json"
    csv = "csv"
    npz = "npz"
    safetensors = "safetensors"
    md = "md"


@app.command()
def result(
    job: JobId,
    format: Annotated[
        Format | None,
        typer.Option(
            "--format",
            help="npz and safetensors have all arrays; json, csv and md have the summary; md begins with the verdict in words.",
            show_default="md in a terminal, else json",
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write.", show_default="stdout")] = None,
    cluster: Annotated[str | None, typer.Option(help="Only this cluster (json, csv and md only).")] = None,
    ranking: Annotated[str | None, typer.Option(help="Only this ranking (json, csv and md only).")] = None,
    top: Annotated[
        int | None, typer.Option(min=1, help="Show at most N units per ranking (json and csv only).", metavar="N")
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(help="Only this layer of a job on several layers, or `joint`.", show_default="a table over the layers"),
    ] = None,
    url: Url = URL,
) -> None:
    """Fetch the result of a job that has succeeded."""
    if format is None:
        reads = output is None and top is None and sys.stdout.isatty()
        format = Format.md if reads else Format.json
    is_binary = format in (Format.npz, Format.safetensors)
    if is_binary and result_query(cluster, ranking, top):
        raise NotPossible(
            f"--format {format} writes all arrays, so --cluster, --ranking and --top do not apply; use json or csv with them",
            code="invalid_request",
        )
    if format is Format.safetensors and layer is not None:
        raise NotPossible("--format safetensors writes the arrays of all layers; use npz with --layer", code="invalid_request")
    if output is None and is_binary and sys.stdout.isatty():
        raise NotPossible(
            f"{format} is a binary format, which a terminal cannot show; give a file with --output", code="invalid_request"
        )
    with open_client(url) as client, ExitStack() as stack:
        file = output or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="unitrank-")), "result")
        handle = client.jobs.get(job)
        if format is Format.md:
            summary = client.run(client.calls.summary(job, result_query(cluster, ranking, None, layer)))
            file.write_text(markdown(summary, handle.class_names()), encoding="utf-8")
        elif format is Format.npz and layer is not None:
            handle.result(quiet=True)[layer].save(file)
        elif format is Format.npz:
            summary = handle.any_summary()
            handle.download(file, TYPES[format])
            # `compare` and `gate` need the summary beside the arrays.
            add_summary(file, summary)
        else:
            handle.download(file, TYPES[format], cluster=cluster, ranking=ranking, top=top, layer=layer)
        if output is None:
            with file.open("rb") as content:
                shutil.copyfileobj(content, sys.stdout.buffer)
            sys.stdout.buffer.flush()


@app.command()
def unit(
    job: JobId,
    unit: Annotated[int, typer.Argument(min=0, help="Number of the unit.")],
    cluster: Annotated[str | None, typer.Option(help="Only this cluster.")] = None,
    ranking: Annotated[str | None, typer.Option(help="Only this ranking.")] = None,
    layer: Annotated[str | None, typer.Option(help="Layer of the unit, or `joint`.", show_default="the first layer")] = None,
    url: Url = URL,
    as_json: AsJson = False,
) -> None:
    """Show one unit: its importance, its effect, and the examples that move it most."""
    with open_client(url) as client:
        handle = client.jobs.get(job)
        values = handle.unit(unit, cluster=cluster, ranking=ranking, layer=layer)
        names = {} if as_json else handle.class_names()
    if as_json:
        print_json(values)
        return
    of_clusters = names if handle.state.request.clusters.by in OF_CLASSES else {}
    print_table(UNIT_COLUMNS, (line for each in values.rankings for line in unit_lines(each, names, of_clusters)))
    for missing in values.missing.values():
        print_message(missing)


@app.command()
def mask(
    job: Saved,
    remove: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the units to remove: one of the fractions that the job tested.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write, as safetensors.")] = Path("mask.safetensors"),
    cluster: Annotated[str | None, typer.Option(help="Name of the cluster.", show_default="the only one")] = None,
    ranking: Annotated[str | None, typer.Option(help="Id of the ranking.", show_default="the best")] = None,
    layer: Annotated[str | None, typer.Option(help="Layer of a job on several layers.")] = None,
    url: Url = URL,
) -> None:
    """Write a mask of the least important units, and print code that applies it to your module."""
    with open_client(url) as client:
        chosen = layer_result_of(client, job, layer).mask(remove, ranking=ranking, cluster=cluster)
    print_message(f"{chosen} The mask is in {chosen.save(output)}.")
    print(chosen.snippet(output), end="")


@app.command()
def gate(
    job: Saved,
    min_better_than_random: Annotated[
        float | None, typer.Option(min=0, max=1, help="Smallest accepted share of clusters that are better than random, 0 to 1.")
    ] = None,
    min_area: Annotated[float | None, typer.Option(help="Smallest accepted area over all clusters.")] = None,
    min_selectivity: Annotated[float | None, typer.Option(help="Smallest accepted selectivity of any cluster.")] = None,
    max_missed: Annotated[
        int | None, typer.Option(min=0, help="Largest accepted number of important units that the ranking may miss in any cluster.")
    ] = None,
    max_gap: Annotated[float | None, typer.Option(min=0, help="Largest accepted relative completeness gap of any cluster.")] = None,
    max_p: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Largest accepted p over all clusters, corrected for the number of rankings."),
    ] = None,
    forbid: Annotated[
        list[str] | None, typer.Option(help="Fail if the result has a warning with this code; repeat it for several codes.")
    ] = None,
    ranking: Annotated[str | None, typer.Option(help="Id of the ranking to check.", show_default="the best")] = None,
    layer: Annotated[
        str | None,
        typer.Option(help="Layer to check, or `joint`.", show_default="`joint` if the job has it, else every layer"),
    ] = None,
    url: Url = URL,
    as_json: AsJson = False,
) -> None:
    """Exit 0 if the result meets all conditions, else 1.

    For a job on several layers the conditions hold for `joint` if the job has it, else for every
    layer.
    """
    with open_client(url) as client:
        summary = summary_of(client, job)
    bounds = Bounds(
        min_better_than_random=min_better_than_random,
        min_area=min_area,
        max_gap=max_gap,
        max_p=max_p,
        min_selectivity=min_selectivity,
        max_missed=max_missed,
        forbidden=tuple(forbid or ()),
    )
    conditions = checks(summary, bounds, ranking, layer)
    if as_json:
        print_json({"met": all(check.met for check in conditions), "checks": [check.as_json() for check in conditions]})
    else:
        rows = [("met" if check.met else "NOT MET", check.layer or "", check.condition, check.value) for check in conditions]
        # Only a job on several layers has the column `layer`.
        columns = [0, 1, 2, 3] if any(check.layer for check in conditions) else [0, 2, 3]
        print_table([GATE_COLUMNS[each] for each in columns], ([row[each] for each in columns] for row in rows))
    if not all(check.met for check in conditions):
        raise GateNotMet(
            f"{sum(not check.met for check in conditions)} of {len(conditions)} conditions are not met", code="gate_not_met"
        )


@app.command()
def doctor(url: Url = URL, as_json: AsJson = False) -> None:
    """Check the service, the key, the store and the installed packages; show what is missing."""
    with open_client(url, retries=0) as client:
        service = client.run(checkup.of_service(client.calls, url))
    # The service and this command may name the same fault of the store.
    machine = [*checkup.of_installation(), checkup.of_gpus(os.environ), *checkup.of_folder(Path.cwd())]
    local = [*checkup.of_store(), *checkup.of_variables(os.environ), *machine]
    findings = list(dict.fromkeys([*service, *local]))
    if as_json:
        print_json([finding.as_json() for finding in findings])
    else:
        rows = [finding for finding in findings if finding.subject != checkup.STORE_ACL]
        print_table(("", "", ""), [(_mark(finding), finding.subject, finding.detail) for finding in rows])
        for acl in (finding for finding in findings if finding.subject == checkup.STORE_ACL):
            # In the table the command would be cut into lines.
            print_message(
                "this command creates a user of the store with the permissions that Unitrank needs; enter it at the prompt of "
                f"redis-cli or valkey-cli, with a password in place of PASSWORD:\n{acl.detail}"
            )
    if not service[0].ok:
        raise Unreachable(
            "the service does not answer; start it with `unitrank up`, or give its address with --url", code="unreachable"
        )
    if failed := [finding.subject for finding in findings if finding.required and not finding.ok]:
        raise UnitrankError(f"these checks failed: {', '.join(failed)}; the lines above name the next step", code="not_in_order")


def _mark(finding: checkup.Finding) -> str:
    return "ok" if finding.ok else "WRONG" if finding.required else "–"
