"""One job from its request to its result; the order of the stages is the way through the engine."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from importlib.metadata import version
from time import monotonic
from typing import Any

import numpy as np

from unitrank_engine.ablation.study import RankingStudy, Study
from unitrank_engine.attribution.fidelity import FidelityObserver, judge
from unitrank_engine.attribution.main_pass import MainPass
from unitrank_engine.attribution.ranking_errors import judging
from unitrank_engine.attribution.scores import Attribution, EarlierScores, Errors, score_key
from unitrank_engine.device import forget_peak
from unitrank_engine.job.baselines import find_baselines
from unitrank_engine.job.batch_size import rows_at_once
from unitrank_engine.job.clusters.forward import Forward
from unitrank_engine.job.clusters.holdout import halve
from unitrank_engine.job.context import JobContext, PassCost
from unitrank_engine.job.examples import Examples
from unitrank_engine.job.fills import Fills
from unitrank_engine.job.progress import ProgressMeter, Report
from unitrank_engine.job.random_streams import RandomStreams
from unitrank_engine.job.units import Units
from unitrank_engine.program import Program
from unitrank_engine.result.summary import JobOutcome, arrays, summarise
from unitrank_engine.reuse.fingerprints import NoPartStore, PartStore, Shelf
from unitrank_engine.reuse.known_scores import ScoreCache, known_clusters
from unitrank_schemas.checks import with_spacing
from unitrank_schemas.jobs import JobRequest
from unitrank_schemas.methods import MethodBase
from unitrank_tables import Table

Span = Callable[[str], AbstractContextManager[Any]]
"""Opens a span of a trace around a stage, by the stage's name. Any: as OpenTelemetry's."""


def run(
    request: JobRequest,
    resolved: Mapping[str, Any],
    program: Program,
    table: Table,
    report: Report,
    job: str = "",
    parts: PartStore | None = None,
    span: Span = nullcontext,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The summary (as JSON values) and the arrays of a checked request.

    `resolved` holds the exact contents: `model` and `dataset`, each with `name` and `digest`, and `clean`, the digest of
    the cleaned archive; `parts` is what earlier jobs left; `span` opens a trace's span around each stage.
    Raises EngineError for what only running it could show, and whatever `report` raises.
    """
    began = monotonic()
    forget_peak(program.device)
    with span("prepare"):
        context = prepare(request, resolved, program, table, report, parts)
    batch = rows_at_once(program)
    shelf = Shelf.of(parts or NoPartStore(), context, batch)
    if request.clusters.reads_model and not context.cost.forward_rows:
        shelf.reused.append("clusters")
    entries: list[MethodBase] = [with_spacing(entry, request) for entry in request.methods]
    baselines = find_baselines(context, batch)
    fills = Fills(context, baselines, batch)
    kept = ScoreCache(context, shelf, entries)
    known = kept.find()
    main = MainPass(context, baselines, fills, entries, batch, known)
    study = Study(context, request.ablation, fills, shelf) if request.ablation else None
    main.plan()
    if study:
        study.plan(sum(score_key(entry) in main.fresh for entry in entries))
    observer = None
    if request.fidelity:
        observer = FidelityObserver(context, request.fidelity, fills, len(main.members.rows), list(main.entries), known.errors)
    with span("attribution"):
        found = main.run(observer)
        if not main.halved:
            kept.keep(found, known, observer.errors if observer else {})
    with span("ablation"):
        studies, random = _study(study, found, entries) if study else ({}, None)
    fidelity, reused = _fidelity(observer, entries, main.members.rows), _reused(shelf, entries, known, studies)
    outcome = JobOutcome(context, entries, found, studies, random, fidelity, began, reused)
    summary = summarise(outcome, resolved, job, _version())
    return summary.model_dump(mode="json"), arrays(outcome)


@cache
def _version() -> str:
    return version("unitrank")


def _reused(shelf: Shelf, entries: list[MethodBase], known: EarlierScores, studies: Mapping[str, RankingStudy]) -> list[str]:
    """What was not computed again: rankings by their ids, or their scores or their ablation alone."""
    rankings = []
    for entry in entries:
        study = studies.get(entry.id or "")
        found = [score_key(entry) in known.scored, *([study.reused] if study else [])]
        halves = [f"{entry.id}/{part}" for part, there in zip(("scores", "ablation"), found, strict=False) if there]
        rankings += [str(entry.id)] if all(found) else halves
    return [*shelf.reused, *rankings]


def prepare(
    request: JobRequest,
    resolved: Mapping[str, Any],
    program: Program,
    table: Table,
    report: Report,
    parts: PartStore | None = None,
) -> JobContext:
    """The job with its place, clusters and halves."""
    place = program.place(request.layer, request.at)
    output = request.output or next(iter(program.outputs))
    # the cleaned archive's digest: the same network exported twice has two digests of uploads and one of that
    model, dataset = resolved.get("clean") or resolved["model"]["digest"], resolved["dataset"]["digest"]
    clusters_key = request.clusters.model_dump(mode="json")
    streams = RandomStreams.of(request.seed, model, request.layer, request.at, request.units, dataset, clusters_key)
    examples, meter = Examples.of(table, program, request), ProgressMeter(report)
    forward = Forward(program, output, examples, meter)
    clusters = known_clusters(request, table, forward, streams, parts or NoPartStore())
    rule, limit = (request.ablation.split, request.ablation.examples) if request.ablation else ("half", 1)
    return JobContext(
        request=request,
        program=program,
        split=program.split(place, output),
        units=Units(request.units, place),
        examples=examples,
        streams=streams,
        clusters=clusters,
        halves=[halve(cluster, rule, limit, table, streams) for cluster in clusters],
        meter=meter,
        cost=PassCost(forward_rows=forward.rows_done),
    )


def _study(study: Study, found: Attribution, entries: list[MethodBase]) -> tuple[dict[str, RankingStudy], np.ndarray]:
    """Tests each ranking as its own half of every cluster made it."""
    importance: dict[str, list[np.ndarray]] = {}
    for entry in entries:
        sums = found.scored[score_key(entry)].sums
        assert entry.id is not None
        importance[entry.id] = [
            sums.of(*((2 * index, 2 * index + 1) if halves.in_sample else (2 * index,))).importance(entry.statistic)
            for index, halves in enumerate(study.context.halves)
        ]
    with judging("ablation", list(importance)):
        return study.run(importance)


def _fidelity(observer: FidelityObserver | None, entries: list[MethodBase], rows: np.ndarray) -> dict[str, Any]:
    if observer is None:
        return {}
    # where baselines depend on the cluster an example of several clusters was seen in each: it counts in the first
    once = np.unique(rows, return_index=True)[1]
    errors = {
        str(entry.id): Errors(found.predicted[once], found.actual[once])
        for entry in entries
        for found in [observer.errors[score_key(entry)]]
    }
    return judge(errors, compare=observer.request.select != "top")
