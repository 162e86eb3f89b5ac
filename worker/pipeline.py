"""One job from its request to its result; the order of the stages is the way through the engine."""

from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from time import monotonic
from typing import Any

import numpy as np

from api_schemas.checks import with_spacing
from api_schemas.jobs import JobRequest
from api_schemas.methods import MethodBase
from store.tables import Table
from worker.ablation.study import RankingStudy, Study
from worker.attribution import MainPass
from worker.baselines import find_baselines
from worker.batches import rows_at_once
from worker.blame import judging
from worker.clusters import find_clusters
from worker.device import forget_peak
from worker.examples import Examples
from worker.fidelity import Errors, FidelityWatch, judge
from worker.fills import Fills
from worker.forward import Forward
from worker.halves import halve
from worker.meter import Meter, Report
from worker.program import Program
from worker.scored import Attribution, score_key
from worker.streams import Streams
from worker.summary import Outcome, arrays, summarise
from worker.units import Units
from worker.work import Cost, Work


def run(
    request: JobRequest, resolved: Mapping[str, Any], program: Program, table: Table, report: Report, job: str = ""
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The summary (as JSON values) and the arrays of a checked request.

    `resolved` holds the exact contents: `model` and `dataset`, each with `name` and `digest`, and `clean`, the digest of
    the cleaned archive. Raises EngineError for what only running it could show, and whatever `report` raises.
    """
    began = monotonic()
    forget_peak(program.device)
    work = prepare(request, resolved, program, table, report)
    batch = rows_at_once(program)
    entries: list[MethodBase] = [with_spacing(entry, request) for entry in request.methods]
    baselines = find_baselines(work, batch)
    fills = Fills(work, baselines, batch)
    main = MainPass(work, baselines, fills, entries, batch)
    study = Study(work, request.ablation, fills, batch) if request.ablation else None
    main.plan()
    if study:
        study.plan(len(entries))
    watch = None
    if request.fidelity:
        watch = FidelityWatch(work, request.fidelity, fills, len(main.members.rows), list(main.entries))
    found = main.run(watch)
    studies, random = _study(study, found, entries) if study else ({}, None)
    outcome = Outcome(work, entries, found, studies, random, _fidelity(watch, entries, main.members.rows), began)
    summary = summarise(outcome, resolved, job, _version())
    return summary.model_dump(mode="json"), arrays(outcome)


@cache
def _version() -> str:
    return version("unitrank")


def prepare(request: JobRequest, resolved: Mapping[str, Any], program: Program, table: Table, report: Report) -> Work:
    """The job with its place, clusters and halves."""
    place = program.place(request.layer, request.at)
    output = request.output or next(iter(program.outputs))
    # the cleaned archive's digest: the same network exported twice has two digests of uploads and one of that
    model, dataset = resolved.get("clean") or resolved["model"]["digest"], resolved["dataset"]["digest"]
    clusters_key = request.clusters.model_dump(mode="json")
    streams = Streams.of(request.seed, model, request.layer, request.at, request.units, dataset, clusters_key)
    examples, meter = Examples.of(table, program, request), Meter(report)
    forward = Forward(program, output, examples, meter)
    clusters = find_clusters(request, table, forward, streams)
    rule, limit = (request.ablation.split, request.ablation.examples) if request.ablation else ("half", 1)
    return Work(
        request=request,
        program=program,
        split=program.split(place, output),
        units=Units(request.units, place),
        examples=examples,
        streams=streams,
        clusters=clusters,
        halves=[halve(cluster, rule, limit, table, streams) for cluster in clusters],
        meter=meter,
        cost=Cost(forward_rows=forward.rows_done),
    )


def _study(study: Study, found: Attribution, entries: list[MethodBase]) -> tuple[dict[str, RankingStudy], np.ndarray]:
    """Tests each ranking as its own half of every cluster made it."""
    importance: dict[str, list[np.ndarray]] = {}
    for entry in entries:
        sums = found.scored[score_key(entry)].sums
        assert entry.id is not None
        importance[entry.id] = [
            sums.of(*((2 * index, 2 * index + 1) if halves.in_sample else (2 * index,))).importance(entry.statistic)
            for index, halves in enumerate(study.work.halves)
        ]
    with judging("ablation", list(importance)):
        return study.run(importance)


def _fidelity(watch: FidelityWatch | None, entries: list[MethodBase], rows: np.ndarray) -> dict[str, Any]:
    if watch is None:
        return {}
    # where baselines depend on the cluster an example of several clusters was seen in each: it counts in the first
    once = np.unique(rows, return_index=True)[1]
    errors = {
        str(entry.id): Errors(watch.predicted[score_key(entry)][once], watch.actual[score_key(entry)][once]) for entry in entries
    }
    return judge(errors, compare=watch.request.select != "top")
