"""Makes the result from a job's outcome: the summary, and the arrays in full."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any

import numpy as np
import torch

from unitrank_engine.ablation.exact.result import ExactResult
from unitrank_engine.ablation.study import RankingStudy, StudyOutcome
from unitrank_engine.attribution.scores import MIN_CHANGE, Attribution, MethodScores, score_key
from unitrank_engine.attribution.statistics import Moments, spearman
from unitrank_engine.device import peak_bytes
from unitrank_engine.job.context import JobContext
from unitrank_engine.result import verdict_warnings, warnings
from unitrank_engine.result.agreement import agreements
from unitrank_engine.result.doubts import with_doubts
from unitrank_engine.result.heatmaps import heatmaps
from unitrank_engine.result.leaderboard import leaderboard
from unitrank_engine.result.relations import relations
from unitrank_engine.result.top import LEVEL, stable_top, top
from unitrank_schemas import results as schema
from unitrank_schemas.methods import MethodBase


@dataclass(frozen=True)
class JobOutcome:
    """Everything that was computed for a job."""

    context: JobContext
    entries: list[MethodBase]
    """The request's methods, in its order."""
    attribution: Attribution
    study: StudyOutcome | None
    """None without an ablation."""
    exact: Mapping[str, ExactResult]
    """Ranking's id → its exact tests; empty without an ablation."""
    weights_matter: Mapping[str, float | None]
    """Ranking's id → `weights_matter`; empty where the request does not ask for it."""
    fidelity: Mapping[str, schema.FidelityResult]
    """Ranking's id → its fidelity; empty where the request has none."""
    began: float
    """The job's start on the monotonic clock, in seconds."""
    reused: list[str]
    """Names of the results that earlier jobs left."""

    def study_of(self, entry: MethodBase) -> RankingStudy | None:
        """Return the study of a method's ranking; None without an ablation."""
        return self.study.rankings[str(entry.id)] if self.study else None

    def scores(self, entry: MethodBase) -> MethodScores:
        """Return the scores of a method."""
        return self.attribution.by_key[score_key(entry)]

    def moments(self, entry: MethodBase, cluster: int) -> Moments:
        """Return the sums of a method's scores over all examples of a cluster."""
        return self.scores(entry).sums.of_cluster(cluster)

    def relative_gaps(self, entry: MethodBase, cluster: int) -> tuple[float, float]:
        """Return the relative gap and the hidden one of a cluster's paths; 0 without a path."""
        gaps = self.scores(entry).path_gaps
        return (0.0, 0.0) if gaps is None else gaps.relative(self.members(cluster))

    def members(self, cluster: int) -> np.ndarray:
        """Return the cluster's examples by their number in the main pass."""
        return self.attribution.membership.by_cluster[cluster]


def summarise(outcome: JobOutcome, resolved: Mapping[str, Any], job: str, version: str) -> schema.Result:
    """Return the summary of a job.

    `resolved`: name and digest of the model and of the dataset.
    `job`: the job's id.
    `version`: the version of Unitrank.
    """
    context, request = outcome.context, outcome.context.request
    rankings = [_ranking(outcome, entry, resolved.get("further", {})) for entry in outcome.entries]
    comparisons = outcome.study.comparisons if outcome.study else []
    warns = _warnings(outcome, rankings)
    activity_area = outcome.study.activity_area if outcome.study else None
    rankings = [with_doubts(ranking, activity_area, warns, request.ablation) for ranking in rankings]
    return schema.Result(
        job=job,
        model=schema.Content(**resolved["model"]),
        dataset=schema.Content(**resolved["dataset"]),
        layer=schema.RankedLayer(
            name=request.layer,
            at=request.at,
            cut=context.cut,
            units=request.units,
            shape=list(context.units.shape),
            count=context.units.count,
            channel_axis=context.units.channel_axis,
        ),
        clusters=[_cluster(outcome, index) for index in range(len(context.clusters))],
        rankings=rankings,
        leaderboard=leaderboard(rankings, comparisons),
        comparisons=comparisons,
        agreement=agreements(rankings, len(context.clusters), partial(outcome.attribution.importances, outcome.entries)),
        given=relations(outcome.entries, outcome.attribution),
        warnings=warnings.listed(warns),
        cost=schema.Cost(
            seconds=monotonic() - outcome.began,
            forward_rows=context.cost.forward_rows,
            backward_rows=context.cost.backward_rows,
            device=str(context.device),
            peak_bytes=peak_bytes(context.device),
            reused=outcome.reused,
        ),
        provenance=schema.Provenance(
            seed=request.seed,
            version=version,
            torch=torch.__version__,
            options=request.model_dump(
                mode="json",
                include={"target", "baseline", "preprocess", "inputs", "labels", "output", "clusters", "ablation", "fidelity"},
                exclude={"clusters": {"members"}},
            ),
        ),
    )


def _cluster(outcome: JobOutcome, index: int) -> schema.Cluster:
    members, halves = outcome.members(index), outcome.context.halves[index]
    right, tested = outcome.attribution.examples.right, outcome.context.request.ablation is not None
    return schema.Cluster(
        name=outcome.context.clusters[index].name,
        examples=len(members),
        ranked_on=halves.ranked_on if tested else len(members),
        tested_on=len(halves.tested) if tested else 0,
        accuracy=None if right is None else float(right[members].mean()),
        score=float(outcome.attribution.examples.f[members].mean()),
    )


def _ranking(outcome: JobOutcome, entry: MethodBase, further: Mapping[str, Any]) -> schema.Ranking:
    assert entry.id is not None
    study = outcome.study_of(entry)
    return schema.Ranking(
        id=entry.id,
        method=_described(entry, further),
        clusters={
            cluster.name: _cluster_ranking(outcome, entry, index, study) for index, cluster in enumerate(outcome.context.clusters)
        },
        overall=study.overall if study else None,
        specificity=study.specificity if study else None,
        weights_matter=outcome.weights_matter.get(entry.id),
        fidelity=outcome.fidelity.get(entry.id),
        options=outcome.scores(entry).notes.options(),
        seconds=outcome.scores(entry).seconds + (study.seconds if study else 0.0),
    )


def _described(entry: MethodBase, further: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entry without its id and without given numbers; references name exact contents."""
    described = entry.model_dump(exclude={"id", "importance"})
    exact = {reference: f"{reference.partition('@')[0]}@{further[reference]['digest']}" for reference in entry.datasets}
    return {name: exact.get(value, value) if isinstance(value, str) else value for name, value in described.items()}


def _cluster_ranking(outcome: JobOutcome, entry: MethodBase, cluster: int, study: RankingStudy | None) -> schema.ClusterRanking:
    context, exact = outcome.context, outcome.exact.get(str(entry.id))
    level = context.request.ablation.level if context.request.ablation else LEVEL
    units = top(outcome.scores(entry), entry.statistic, cluster, context.units.shape, level)
    return schema.ClusterRanking(
        top=units,
        completeness=_completeness(outcome, entry, outcome.members(cluster)) if entry.scores_examples else None,
        cancellation=outcome.moments(entry, cluster).cancellation(),
        stability=_stability(outcome, entry, cluster),
        stable_top=stable_top(units),
        verified=exact.verified[cluster] if exact and exact.verified else None,
        ablation=study.clusters[cluster] if study else None,
    )


def _completeness(outcome: JobOutcome, entry: MethodBase, members: np.ndarray) -> schema.Completeness:
    attribution = outcome.attribution
    totals = outcome.scores(entry).totals[members]
    f, f_baseline = attribution.examples.f[members], attribution.examples.f_baseline[members]
    change = f - f_baseline
    size = float(np.abs(change).sum())
    comparable = outcome.context.cut and entry.complete and size >= MIN_CHANGE * float((np.abs(f) + np.abs(f_baseline)).sum())
    return schema.Completeness(
        sum=float(totals.mean()),
        expected=float(change.mean()),
        relative_gap=float(np.abs(totals - change).sum()) / size if comparable and size else None,
    )


def _stability(outcome: JobOutcome, entry: MethodBase, cluster: int) -> float | None:
    """Return the rank correlation of the importance from the cluster's two halves.

    None if a half is empty.
    """
    halves = [outcome.scores(entry).sums.of_cluster(cluster, side) for side in (0, 1)]
    if any(half.m == 0 for half in halves):
        return None
    return spearman(*(half.importance(entry.statistic) for half in halves))


def _warnings(outcome: JobOutcome, rankings: list[schema.Ranking]) -> list[schema.Warn]:
    context, entries, attribution = outcome.context, outcome.entries, outcome.attribution
    labels = context.examples.labels(attribution.membership.rows)
    warns = [*warnings.of_job(context, entries), *warnings.of_target(context, attribution.examples)]
    warns += verdict_warnings.of_clusters(context)
    warns += verdict_warnings.of_accuracy(attribution, None if labels is None else labels.cpu().numpy())
    for index, cluster in enumerate(context.clusters):
        warns += verdict_warnings.of_cluster(context, index, _cluster(outcome, index))
        warns += warnings.of_cluster(context, attribution, index, outcome.members(index), entries)
        for entry, ranking in zip(entries, rankings, strict=True):
            result = ranking.clusters[cluster.name]
            warns += warnings.of_ranking(context, index, entry, outcome.moments(entry, index), result)
            warns += warnings.of_path(context, index, entry, *outcome.relative_gaps(entry, index))
            warns += verdict_warnings.of_activity(context, index, ranking.id, result)
    for entry, ranking in zip(entries, rankings, strict=True):
        warns += warnings.of_method(entry, outcome.scores(entry).notes)
        study = outcome.study_of(entry)
        if study:
            warns += verdict_warnings.of_verdict(context, ranking, study)
    return warns


def arrays(outcome: JobOutcome) -> dict[str, np.ndarray]:
    """Return the result's arrays by name, in float32; clusters are in the summary's order."""
    context = outcome.context
    full: dict[str, np.ndarray] = {}
    for entry in outcome.entries:
        moments = [outcome.moments(entry, index) for index in range(len(context.clusters))]
        full[f"importance/{entry.id}"] = np.stack([each.importance(entry.statistic) for each in moments])
        full[f"spread/{entry.id}"] = np.stack([each.spread(entry.statistic) for each in moments])
        study = outcome.study_of(entry)
        if study:
            for order, curves in study.arrays.items():
                full[f"ablation/{entry.id}/{order}"] = curves
        exact = outcome.exact.get(str(entry.id))
        if exact and exact.pairs is not None:
            full[f"pairs/{entry.id}"] = exact.pairs
        kept = {context.clusters[index].name: torch.stack(rows) for index, rows in outcome.scores(entry).kept.items()}
        for name, rows in kept.items():
            full[f"examples/{entry.id}/{name}"] = rows.reshape(-1, *context.units.shape).float().numpy()
        full |= heatmaps(entry, context.units, full[f"importance/{entry.id}"], {name: rows.numpy() for name, rows in kept.items()})
    if outcome.study:
        full["ablation/random"] = outcome.study.random
    full = {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in full.items()}
    for cluster in context.clusters:
        full[f"rows/{cluster.name}"] = np.ascontiguousarray(cluster.rows, dtype=np.int64)
    return full
