"""The pipeline computes one job, from its request to its result.

The stages run in this order: prepare (clusters and halves), attribution (scores), ablation,
summary.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cache, partial
from importlib.metadata import version
from time import monotonic
from types import MappingProxyType
from typing import Any

import numpy as np

from unitrank_engine.ablation.exact.result import ExactResult
from unitrank_engine.ablation.study import StudyOutcome
from unitrank_engine.attribution.fidelity import FidelityObserver, judge
from unitrank_engine.attribution.ranking_errors import advise_without
from unitrank_engine.attribution.scores import Attribution, Drops, MethodScores, score_key
from unitrank_engine.device import reset_peak_bytes
from unitrank_engine.errors import EngineError
from unitrank_engine.job.baselines import find_baselines
from unitrank_engine.job.batch_size import rows_at_once
from unitrank_engine.job.clusters.finders import ClusterRows
from unitrank_engine.job.clusters.forward import Forward
from unitrank_engine.job.clusters.holdout import Halves, halve
from unitrank_engine.job.context import JobContext, PassCost
from unitrank_engine.job.examples import Examples
from unitrank_engine.job.fills import Fills
from unitrank_engine.job.progress import ProgressMeter, Report
from unitrank_engine.job.random_streams import RandomStreams
from unitrank_engine.job.units import PlaceUnits
from unitrank_engine.methods.given import brought_importance, made_on
from unitrank_engine.program import Program
from unitrank_engine.program.contracts.finite import naming_singular_matrices
from unitrank_engine.program.outputs.reduction import reduced
from unitrank_engine.program.proof.uninitialised import filled_memory
from unitrank_engine.result.summary import JobOutcome, arrays, summarise
from unitrank_engine.reuse.clusters import find_or_reuse_clusters
from unitrank_engine.reuse.exact_tests import ExactTests
from unitrank_engine.reuse.main_pass import CachedMainPass
from unitrank_engine.reuse.parts import JobParts, NoPartStore, PartStore
from unitrank_engine.reuse.sanity import Sanity
from unitrank_engine.reuse.study import CachedStudy
from unitrank_schemas.jobs import JobRequest
from unitrank_schemas.methods import Given, MethodBase
from unitrank_tables import Table
from unitrank_tables.top_units import highest

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
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Compute a checked request; return its summary as JSON values, and its arrays by name.

    `resolved`: the exact contents that the request names. `model` and `dataset` each have `name`
        and `digest`; `clean` is the digest of the cleaned archive.
    `report`: takes a progress record after every pass.
    `job`: the job's id, for the summary.
    `parts`: intermediate results of earlier jobs, which this job reuses and adds to.
    `span`: opens a tracing span around each stage.
    `further`: reference → table of the datasets that entries of `methods` read.

    Raises EngineError for errors that only a run can show, and any error that `report` raises.
    """
    began = monotonic()
    reset_peak_bytes(program.device)
    with filled_memory() if program.fills_memory else nullcontext(), naming_singular_matrices():
        with span("prepare"):
            context = prepare(request, resolved, program, table, report, parts)
        stages = _Stages(context, parts or NoPartStore(), further)
        stages.plan()
        with span("attribution"):
            attribution = stages.attribution()
        with span("ablation"):
            study = stages.ablation(attribution)
            exact = stages.exact_tests(attribution)
            weights_matter = stages.weights_matter(attribution, study)
    outcome = JobOutcome(
        context=context,
        entries=stages.entries,
        attribution=attribution,
        study=study,
        exact=exact,
        weights_matter=weights_matter,
        fidelity=stages.fidelity_of_rankings(),
        began=began,
        reused=stages.reused(),
    )
    summary = summarise(outcome, resolved, job, _version())
    return summary.model_dump(mode="json"), arrays(outcome)


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
) -> JobContext:
    """Find the place, the clusters and their halves, before the main pass. Raises EngineError."""
    output = request.output or next(iter(program.outputs))
    program = reduced(program, output, request.target)
    place = program.place(request.layer, request.at)
    # Two exports of one network differ in the upload's digest and agree in the cleaned archive's.
    model, dataset = resolved.get("clean") or resolved["model"]["digest"], resolved["dataset"]["digest"]
    clusters_key = request.clusters.model_dump(mode="json")
    streams = RandomStreams.of(request.seed, model, request.layer, request.at, request.units, dataset, clusters_key)
    examples, meter = Examples.of(table, program, request), ProgressMeter(report)
    forward = Forward(program, output, request.target, examples, meter)
    clusters = find_or_reuse_clusters(request, table, forward, streams, parts or NoPartStore())
    return JobContext(
        request=request,
        program=program,
        split=program.split(place, output),
        units=PlaceUnits(request.units, place),
        examples=examples,
        streams=streams,
        clusters=clusters,
        halves=_halves(request, clusters, table, streams),
        meter=meter,
        cost=PassCost(forward_rows=forward.rows_done),
    )


def _halves(request: JobRequest, clusters: list[ClusterRows], table: Table, streams: RandomStreams) -> list[Halves]:
    """Return the halves of each cluster.

    Raises EngineError `made_on_leaves_none` where every row made given scores.
    """
    rule, limit = (request.ablation.split, request.ablation.examples) if request.ablation else ("half", 1)
    fields = made_on(request.methods) if request.ablation else []
    brought = not any(entry.scores_examples for entry in request.methods)
    halves = [halve(cluster, rule, limit, table, streams, made_on=fields, brought=brought) for cluster in clusters]
    if fields and all(each.all_marked for each in halves):
        names = " and ".join(map(repr, fields))
        detail = (
            f"`made_on` leaves no row to test the rankings on: every row of the clusters made given scores (field {names}, true in "
            "the row itself or in a row of its group); add rows that made no scores, or set `ablation: null`"
        )
        raise EngineError("made_on_leaves_none", detail)
    return halves


class _Stages:
    """The main pass of one job, and its study and fidelity where the request has them."""

    def __init__(self, context: JobContext, store: PartStore, further: Mapping[str, Table]) -> None:
        request, batch = context.request, rows_at_once(context.program)
        self.context = context
        self.parts = JobParts.of(store, context, batch=batch)
        fills = Fills(context, find_baselines(context, batch), batch)
        self._brought = brought_importance(context, further)
        self.main_pass = CachedMainPass(self.parts, fills, [entry for entry in request.methods if entry.scores_examples])
        self.study = CachedStudy(self.parts, fills, request.ablation) if request.ablation else None
        self.exact = ExactTests(self.parts, fills, request.ablation) if request.ablation else None
        has_sanity = request.ablation is not None and request.ablation.sanity is not None
        self.sanity = Sanity(self.parts, fills, request.ablation) if request.ablation and has_sanity else None
        examples = len(self.main_pass.membership.rows)
        self.fidelity = FidelityObserver(fills, request.fidelity, examples) if request.fidelity else None

    @property
    def entries(self) -> list[MethodBase]:
        """The request's methods, with the spacings that are used."""
        computed = {entry.id: entry for entry in self.main_pass.entries}
        return [computed.get(entry.id, entry) for entry in self.context.request.methods]

    def plan(self) -> None:
        """Announce the rows of every stage to the progress meter."""
        self.main_pass.plan()
        fresh = sum(not self.main_pass.reuses(entry) for entry in self.entries)
        if self.study:
            self.study.plan(fresh)
        if self.exact:
            self.exact.plan(fresh)
        if self.sanity:
            self.sanity.plan([entry for entry in self._computed if not self.main_pass.reuses(entry)])

    def attribution(self) -> Attribution:
        """Return the scores of all rankings."""
        computed = self.main_pass.run(self.fidelity)
        brought = {
            score_key(entry): MethodScores.brought(entry, self._brought[str(entry.id)])
            for entry in self.entries
            if entry.id in self._brought
        }
        return replace(computed, by_key=computed.by_key | brought)

    def ablation(self, attribution: Attribution) -> StudyOutcome | None:
        """Return the outcome of the study; None without an ablation."""
        if self.study is None:
            return None
        importance = self._importance_by_id(attribution)
        with advise_without("ablation", list(importance)):
            return self.study.run(importance)

    def exact_tests(self, attribution: Attribution) -> dict[str, ExactResult]:
        """Return each ranking's exact tests; `{}` without an ablation."""
        if self.exact is None:
            return {}
        importance = self._importance_by_id(attribution)
        entries = {str(entry.id): entry for entry in self.entries}
        with advise_without("ablation", list(importance)):
            return self.exact.run(importance, lambda name, count: _top(self.context, attribution, entries[name], count))

    def weights_matter(self, attribution: Attribution, study: StudyOutcome | None) -> dict[str, float | None]:
        """Return `weights_matter` of each ranking; `{}` where the request does not ask for it."""
        if self.sanity is None or study is None:
            return {}
        importance = self._importance_by_id(attribution)
        tested = {name: each.clusters for name, each in study.rankings.items()}
        with advise_without("ablation", list(importance)):
            return self.sanity.run(self._computed, importance, partial(_importance, self.context), tested)

    @property
    def _computed(self) -> list[MethodBase]:
        """The methods whose scores come from the model."""
        return [entry for entry in self.main_pass.entries if not isinstance(entry, Given)]

    def _importance_by_id(self, attribution: Attribution) -> dict[str, list[np.ndarray]]:
        return {str(entry.id): _importance(self.context, attribution, entry) for entry in self.entries}

    def fidelity_of_rankings(self) -> dict[str, Any]:
        """Return each ranking's fidelity; `{}` where the request does not ask for it."""
        if self.fidelity is None:
            return {}
        # Where baselines depend on the cluster, an example in several clusters is passed once in
        # each. It counts once here, with the first cluster's baseline.
        first = np.unique(self.main_pass.membership.rows, return_index=True)[1]
        drops = {str(entry.id): self.fidelity.drops[score_key(entry)] for entry in self.main_pass.entries}
        errors = {name: Drops(each.predicted[first], each.actual[first]) for name, each in drops.items()}
        return judge(errors, compare=self.fidelity.request.select != "top")

    def reused(self) -> list[str]:
        """Return the names of reused results: `clusters`, `controls`, and rankings by their ids.

        A ranking of which only one part was reused is named `<id>/scores` or `<id>/ablation`.
        """
        names = list(self.parts.reused)
        for entry in self.entries:
            reused = {"scores": self.main_pass.reuses(entry)} if entry.scores_examples else {}
            if self.study:
                reused["ablation"] = entry.id in self.study.reused
            if self.exact:
                reused |= {test: entry.id in rankings for test, rankings in self.exact.reused.items()}
            if self.sanity and entry in self._computed:
                reused["sanity"] = entry.id in self.sanity.reused
            whole = bool(reused) and all(reused.values())
            names += [str(entry.id)] if whole else [f"{entry.id}/{part}" for part in reused if reused[part]]
        return names


def _importance(context: JobContext, attribution: Attribution, entry: MethodBase) -> list[np.ndarray]:
    """Return each cluster's importance of every unit, from the examples that rank.

    These are the first half, or with `split: none` both halves.
    """
    sums = attribution.by_key[score_key(entry)].sums
    return [
        sums.of_cluster(index, None if halves.in_sample else 0).importance(entry.statistic)
        for index, halves in enumerate(context.halves)
    ]


def _top(context: JobContext, attribution: Attribution, entry: MethodBase, count: int) -> list[np.ndarray]:
    """Return each cluster's highest units, in the order of the result's `top`."""
    return [highest(attribution.importances([entry], index)[0], count) for index in range(len(context.clusters))]
