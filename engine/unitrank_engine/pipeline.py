"""The pipeline computes one job, from its request to its result.

The stages run in this order: prepare (clusters and halves), attribution (scores), ablation,
summary.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from time import monotonic
from types import MappingProxyType
from typing import Any

import numpy as np

from unitrank_engine.device import reset_peak_bytes
from unitrank_engine.errors import EngineError
from unitrank_engine.job.clusters.finders import JobClusters, clusters_of
from unitrank_engine.job.clusters.forward import Forward
from unitrank_engine.job.clusters.holdout import Halves, halve
from unitrank_engine.job.context import JobContext, PassCost
from unitrank_engine.job.examples import Examples
from unitrank_engine.job.joint import joint_context
from unitrank_engine.job.passes import LocalRunner, PassRunner
from unitrank_engine.job.progress import ProgressMeter, Report
from unitrank_engine.job.random_streams import RandomStreams
from unitrank_engine.job.units import PlaceUnits
from unitrank_engine.methods.given import made_on
from unitrank_engine.program import Program
from unitrank_engine.program.contracts.finite import naming_singular_matrices
from unitrank_engine.program.outputs.reduction import reduced
from unitrank_engine.program.proof.uninitialised import filled_memory
from unitrank_engine.result.arrays import arrays
from unitrank_engine.result.layers import arrays_of_layers, summarise_layers
from unitrank_engine.result.outcome import JobOutcome
from unitrank_engine.result.summary import summarise
from unitrank_engine.reuse.clusters import find_or_reuse_rows
from unitrank_engine.reuse.parts import NoPartStore, PartStore
from unitrank_engine.stages import Stages
from unitrank_schemas.jobs import JobRequest
from unitrank_tables import Table

Span = Callable[[str], AbstractContextManager[Any]]
"""Takes a stage's name and opens a tracing span around the stage.

Any: OpenTelemetry's span type.
"""
NO_TABLES: Mapping[str, Table] = MappingProxyType({})


def run(
    request: JobRequest,
    resolved: Mapping[str, Any],
    program: Program,
    table: Table,
    report: Report,
    job: str = "",
    parts: PartStore | None = None,
    span: Span = nullcontext,
    further: Mapping[str, Table] = NO_TABLES,
    runner: PassRunner | None = None,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Compute a checked request; return its summary as JSON values, and its arrays by name.

    `resolved`: the exact contents that the request names. `model` and `dataset` each have `name`
        and `digest`; `clean` is the digest of the cleaned archive.
    `report`: takes a progress record after every pass.
    `job`: the job's id, for the summary.
    `parts`: intermediate results of earlier jobs, which this job reuses and adds to.
    `span`: opens a tracing span around each stage.
    `further`: reference → table of the datasets that entries of `methods` read.
    `runner`: runs the passes over rows; by default in this process.

    Raises EngineError for errors that only a run can show, and any error that `report` raises.
    """
    began = monotonic()
    reset_peak_bytes(program.device)
    with filled_memory() if program.fills_memory else nullcontext(), naming_singular_matrices():
        with span("prepare"):
            contexts = prepare_layers(request, resolved, program, table, report, parts, runner)
        stages = Stages(contexts, parts or NoPartStore(), further)
        stages.plan()
        with span("attribution"):
            attributions = stages.attributions()
        with span("ablation"):
            outcomes = stages.outcomes(attributions)
    reused = stages.reused()
    by_name = {name: JobOutcome(targets[0].context, targets, began, reused) for name, targets in outcomes.items()}
    if isinstance(request.layer, list):
        return summarise_layers(by_name, resolved, job, _version()).model_dump(mode="json"), arrays_of_layers(by_name)
    (outcome,) = by_name.values()
    return summarise(outcome, resolved, job, _version()).model_dump(mode="json"), arrays(outcome)


@cache
def _version() -> str:
    return version("unitrank")


def prepare(
    request: JobRequest,
    resolved: Mapping[str, Any],
    program: Program,
    table: Table,
    report: Report,
    parts: PartStore | None = None,
    runner: PassRunner | None = None,
) -> JobContext:
    """Return the context of a job of one layer, as `prepare_layers` does. Raises EngineError."""
    return prepare_layers(request, resolved, program, table, report, parts, runner)[0]


def prepare_layers(
    request: JobRequest,
    resolved: Mapping[str, Any],
    program: Program,
    table: Table,
    report: Report,
    parts: PartStore | None = None,
    runner: PassRunner | None = None,
) -> list[JobContext]:
    """Return the context of each layer, before the main pass.

    All layers have the same clusters and halves, which this function finds. Raises EngineError.
    """
    output = request.output or next(iter(program.outputs))
    program = reduced(program, output, request.target)
    # Two exports of one network differ in the upload's digest and agree in the cleaned archive's.
    model, dataset = resolved.get("clean") or resolved["model"]["digest"], resolved["dataset"]["digest"]
    clusters_key = request.clusters.model_dump(mode="json")
    # Jobs on other layers have the same clusters and halves.
    streams = RandomStreams.of(request.seed, model, dataset, clusters_key)
    runner = runner or LocalRunner()
    examples, meter = Examples.of(table, program, request), ProgressMeter(report)
    forward = Forward(program, output, request.target, examples, meter, runner)
    named_rows = find_or_reuse_rows(request, table, forward, streams, parts or NoPartStore())
    clusters = clusters_of(named_rows, request.clusters.limit, streams)
    halves, cost = _halves(request, clusters, table, streams), PassCost(forward_rows=forward.rows_done)
    contexts = []
    for number, of_layer in enumerate(request.of_layers()):
        place = program.place(of_layer.one_layer, request.at)
        units = PlaceUnits(request.units, place)
        place_key = (of_layer.one_layer, request.at, units.description)
        contexts.append(
            JobContext(
                request=of_layer,
                program=program,
                split=program.split(place, output),
                units=units,
                examples=examples,
                streams=RandomStreams.of(request.seed, model, *place_key, dataset, clusters_key),
                row_streams=RandomStreams.of(request.seed, dataset),
                clusters=clusters.clusters,
                halves=halves,
                column=clusters.column,
                meter=meter.of_part(number) if isinstance(request.layer, list) else meter,
                cost=cost,
                runner=runner,
            )
        )
    return [*contexts, joint_context(contexts, request)] if request.joint else contexts


def _halves(request: JobRequest, clusters: JobClusters, table: Table, streams: RandomStreams) -> list[Halves]:
    """Return the halves of each cluster. A column of the clusters gets them.

    Raises EngineError `made_on_leaves_none` where every row made given scores.
    """
    rule, limit = (request.ablation.split, request.ablation.examples) if request.ablation else ("half", 1)
    fields = made_on(request.methods) if request.ablation else []
    brought = not any(entry.scores_examples for entry in request.methods)
    halves, column = list[Halves](), clusters.column
    sides = np.zeros(0, np.uint8) if column is None else column.new_sides()
    for index, cluster in enumerate(clusters.clusters):
        start = 0 if column is None else int(column.starts[index])
        here = None if column is None else sides[start : start + len(cluster.rows)]
        of_cluster = halve(cluster, rule, limit, table, streams, made_on=fields, brought=brought, sides=here)
        halves.append(of_cluster if column is None else replace(of_cluster, sides=np.zeros(0, np.uint8)))
    if column is not None:
        column.set_sides(sides)
    if fields and all(each.all_marked for each in halves):
        names = " and ".join(map(repr, fields))
        detail = (
            f"`made_on` leaves no row to test the rankings on: every row of the clusters made given scores (field {names}, true in "
            "the row itself or in a row of its group); add rows that made no scores, or set `ablation: null`"
        )
        raise EngineError("made_on_leaves_none", detail)
    return halves
