"""The summary of a result, from the job's outcome."""

from collections.abc import Mapping
from functools import partial
from time import monotonic
from typing import Any, Literal

import numpy as np
import torch

from unitrank_engine.ablation.study import RankingStudy
from unitrank_engine.attribution.baselines.agreement import followed_count
from unitrank_engine.attribution.examples.sums import MIN_CHANGE
from unitrank_engine.attribution.statistics import spearman
from unitrank_engine.device import peak_bytes
from unitrank_engine.job.context import JobContext
from unitrank_engine.job.joint_units import JointUnits
from unitrank_engine.job.units import PlaceUnits
from unitrank_engine.models.heads import heads_of
from unitrank_engine.result import verdict_warnings, warnings
from unitrank_engine.result.agreement import agreements
from unitrank_engine.result.doubts import with_doubts
from unitrank_engine.result.leaderboard import leaderboard
from unitrank_engine.result.outcome import JobOutcome, TargetOutcome
from unitrank_engine.result.relations import relations
from unitrank_engine.result.top import LEVEL, stable_top, top
from unitrank_schemas import results as schema
from unitrank_schemas.jobs import Groups, Labels, axis_of
from unitrank_schemas.methods import MethodBase


def summarise(outcome: JobOutcome, resolved: Mapping[str, Any], job: str, version: str) -> schema.Result:
    """Return the summary of a job.

    `resolved`: name and digest of the model and of the dataset.
    `job`: the job's id.
    `version`: the version of Unitrank.
    """
    part = of_layer(outcome, resolved)
    warns = [*warnings.of_copies(resolved), *part.warnings]
    return schema.Result(
        **about(outcome, resolved, job, version),
        **{name: getattr(part, name) for name in schema.LayerResult.model_fields if name != "warnings"},
        warnings=warnings.listed(warns),
    )


def about(outcome: JobOutcome, resolved: Mapping[str, Any], job: str, version: str) -> dict[str, Any]:
    """Return the fields of a summary that are about the whole job. Arguments as `summarise`."""
    context, request = outcome.context, outcome.context.request
    return {
        "job": job,
        "model": schema.Content(**resolved["model"]),
        "dataset": schema.Content(**resolved["dataset"]),
        "clusters": clusters_of(outcome),
        "cost": schema.Cost(
            seconds=monotonic() - outcome.began,
            forward_rows=context.cost.forward_rows,
            backward_rows=context.cost.backward_rows,
            device=str(context.device),
            peak_bytes=peak_bytes(context.device),
            reused=outcome.reused,
        ),
        "provenance": schema.Provenance(
            seed=request.seed,
            version=version,
            torch=torch.__version__,
            options=request.model_dump(
                mode="json",
                include={"target", "baseline", "preprocess", "inputs", "labels", "output", "clusters", "ablation", "fidelity"},
                exclude={"clusters": {"members"}},
            ),
        ),
    }


def clusters_of(outcome: JobOutcome) -> list[schema.Cluster]:
    """Return the clusters of a job."""
    return [_cluster(outcome, index) for index in range(len(outcome.context.clusters))]


def of_layer(outcome: JobOutcome, resolved: Mapping[str, Any]) -> schema.LayerResult:
    """Return the part of a summary that is about one layer, with all its warnings."""
    context, request = outcome.context, outcome.context.request
    clusters, further = clusters_of(outcome), resolved.get("further", {})
    by_target = [[_ranking(target, entry, further) for entry in target.entries] for target in outcome.targets]
    warns = _warnings(outcome, by_target, clusters)
    comparisons = [pair for target in outcome.targets if target.study for pair in target.study.comparisons]
    by_target = [
        [
            with_doubts(ranking, target.study.activity_area if target.study else None, warns, request.ablation)
            for ranking in rankings
        ]
        for target, rankings in zip(outcome.targets, by_target, strict=True)
    ]
    # All classes of the first method, then all classes of the second one.
    rankings = [ranking for of_method in zip(*by_target, strict=True) for ranking in of_method]
    return schema.LayerResult(
        layer=_ranked_layer(context),
        rankings=rankings,
        leaderboard=leaderboard(rankings, comparisons),
        comparisons=comparisons,
        agreement=[
            pair
            for target, of_target in zip(outcome.targets, by_target, strict=True)
            for pair in agreements(of_target, len(context.clusters), partial(target.attribution.importances, target.entries))
        ],
        given=[each for target in outcome.targets for each in relations(context, target.entries, target.attribution)],
        warnings=warns,
    )


def _ranked_layer(context: JobContext) -> schema.RankedLayer:
    units, request = context.units, context.request
    return schema.RankedLayer(
        name=schema.JOINT if context.joint else request.one_layer,
        at=request.at,
        cut=context.cut,
        units=request.units,
        shape=list(units.shape),
        count=units.count,
        channel_axis=units.channel_axis,
        unit_word=None if isinstance(units, JointUnits) else _unit_word(units),
        parts=_parts(units) if isinstance(units, JointUnits) else None,
    )


def _parts(units: JointUnits) -> list[schema.UnitsOfLayer]:
    return [
        schema.UnitsOfLayer(layer=part.place.layer, first=first, shape=list(part.shape), unit_word=_unit_word(part))
        for part, first in zip(units.parts, units.firsts, strict=True)
    ]


def _unit_word(units: PlaceUnits) -> Literal["position", "head", "group", "label"] | None:
    kind = units.kind
    if isinstance(kind, Groups):
        of_channels = axis_of(kind, units.place.shape) == units.place.channel_axis
        return "head" if of_channels and kind.groups == heads_of(units.place) else "group"
    return "label" if isinstance(kind, Labels) else "position" if kind == "position" else None


def _cluster(outcome: JobOutcome, index: int) -> schema.Cluster:
    target, context = outcome.targets[0], outcome.context
    count, halves, sums = target.examples(index), context.halves[index], target.attribution.examples
    tested = context.request.ablation is not None
    return schema.Cluster(
        name=context.clusters[index].name,
        examples=count,
        ranked_on=halves.ranked_on if tested else count,
        tested_on=len(halves.tested) if tested else 0,
        accuracy=None if sums.right is None else float(sums.right[index] / count),
        score=None if outcome.each_class else float(sums.f[index] / count),
    )


def _ranking(outcome: TargetOutcome, entry: MethodBase, further: Mapping[str, Any]) -> schema.Ranking:
    assert entry.id is not None
    study = outcome.study_of(entry)
    return schema.Ranking(
        id=entry.id,
        target_class=outcome.context.target_class,
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


def _cluster_ranking(outcome: TargetOutcome, entry: MethodBase, cluster: int, study: RankingStudy | None) -> schema.ClusterRanking:
    context, exact = outcome.context, outcome.exact.get(str(entry.id))
    level = context.request.ablation.level if context.request.ablation else LEVEL
    units = top(outcome.scores(entry), entry.statistic, cluster, context.units.shape, level)
    return schema.ClusterRanking(
        top=units,
        completeness=_completeness(outcome, entry, cluster),
        cancellation=outcome.moments(entry, cluster).cancellation(),
        stability=_stability(outcome, entry, cluster),
        stable_top=stable_top(units),
        verified=exact.verified[cluster] if exact and exact.verified else None,
        baselines=_baselines(outcome, entry, cluster),
        ablation=study.clusters[cluster] if study else None,
    )


def _completeness(outcome: TargetOutcome, entry: MethodBase, cluster: int) -> schema.Completeness | None:
    sums, totals, count = outcome.attribution.examples, outcome.scores(entry).totals, outcome.examples(cluster)
    if totals is None:
        return None
    size, whole = float(sums.size[cluster]), float(sums.whole[cluster])
    comparable = outcome.context.cut and entry.complete and size >= MIN_CHANGE * whole
    return schema.Completeness(
        sum=float(totals.total[cluster] / count),
        expected=float(sums.change[cluster] / count),
        relative_gap=float(totals.gap[cluster]) / size if comparable and size else None,
    )


def _baselines(outcome: TargetOutcome, entry: MethodBase, cluster: int) -> schema.BaselineAgreement | None:
    over_baselines = outcome.scores(entry).over_baselines.get(entry.statistic)
    if over_baselines is None:
        return None
    agreement, lowest = (None if np.isnan(each) else float(each) for each in over_baselines.agreement[:, cluster])
    return schema.BaselineAgreement(followed=followed_count(outcome.context), agreement=agreement, lowest=lowest)


def _stability(outcome: TargetOutcome, entry: MethodBase, cluster: int) -> float | None:
    """Return the rank correlation of the importance from the cluster's two halves.

    None if a half is empty.
    """
    halves = [outcome.scores(entry).sums.of_cluster(cluster, side) for side in (0, 1)]
    if any(half.m == 0 for half in halves):
        return None
    return spearman(*(half.importance(entry.statistic) for half in halves))


def _warnings(outcome: JobOutcome, by_target: list[list[schema.Ranking]], clusters: list[schema.Cluster]) -> list[schema.Warn]:
    context, attribution = outcome.context, outcome.targets[0].attribution
    warns = [*warnings.of_job(context, context.request.methods), *warnings.of_size(context)]
    warns += warnings.of_target(context, attribution.examples)
    warns += verdict_warnings.of_clusters(context)
    warns += verdict_warnings.of_accuracy(attribution.examples)
    warns += warnings.of_joint(context) if context.joint else []
    for target, rankings in zip(outcome.targets, by_target, strict=True):
        warns += _of_target(target, rankings, clusters)
    # A warning about a cluster can hold for every class.
    return list({(each.code, each.detail, each.cluster, each.ranking): each for each in warns}.values())


def _of_target(outcome: TargetOutcome, rankings: list[schema.Ranking], clusters: list[schema.Cluster]) -> list[schema.Warn]:
    context, entries = outcome.context, outcome.entries
    warns = list(warnings.of_given(context, entries))
    for index, cluster in enumerate(clusters):
        warns += verdict_warnings.of_cluster(context, index, cluster)
        warns += warnings.of_cluster(context, outcome.attribution.examples, index, entries)
        for entry, ranking in zip(entries, rankings, strict=True):
            result = ranking.clusters[cluster.name]
            warns += warnings.of_ranking(context, index, entry, outcome.moments(entry, index), result)
            warns += warnings.of_path(context, index, entry, *outcome.relative_gaps(entry, index))
            warns += verdict_warnings.of_activity(context, index, ranking.id, result)
            warns += verdict_warnings.of_baselines(cluster.name, ranking.id, result)
    for entry, ranking in zip(entries, rankings, strict=True):
        warns += warnings.of_method(entry, outcome.scores(entry).notes)
        study = outcome.study_of(entry)
        if study:
            warns += verdict_warnings.of_verdict(context, ranking, study)
    return warns
