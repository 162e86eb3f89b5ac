"""Warnings: what a reader of the numbers should know, with the figures that say so."""

from collections.abc import Iterator

import numpy as np

from unitrank_engine.ablation.study import RankingStudy
from unitrank_engine.ablation.verdict import FEWEST_TESTED
from unitrank_engine.attribution.scores import Attribution
from unitrank_engine.attribution.statistics import Moments
from unitrank_engine.job.context import JobContext
from unitrank_engine.job.targets import LINEAR_SCORES
from unitrank_engine.methods.batch import Notes
from unitrank_schemas.methods import MethodBase
from unitrank_schemas.results import ClusterRanking, Warn

CANCELLATION = 0.6


def of_job(context: JobContext, entries: list[MethodBase]) -> Iterator[Warn]:
    """Warnings that hold for all clusters and rankings."""
    request = context.request
    if request.ablation and request.ablation.split == "none":
        yield Warn(
            code="in_sample",
            detail="rankings were made and tested on the same examples, which flatters them; use split 'half' for a verdict",
        )
    if context.split.linear and request.target.score in LINEAR_SCORES:
        yield Warn(
            code="last_hidden_layer",
            detail=f"behind '{request.layer}' the model is linear: every method that uses h − h′ is exact there, so a "
            "comparison of methods at this layer proves nothing",
        )
    shortfall = request.clusters.shortfall(len(context.clusters))
    if shortfall is not None:
        yield Warn(code="fewer_clusters", detail=shortfall)
    fills = {fill for fill in (request.ablation and request.ablation.fill, request.fidelity and request.fidelity.fill) if fill}
    against = [entry.id or entry.name for entry in entries if entry.needs_baseline]
    if against and fills - {"baseline"}:
        yield Warn(
            code="fill_differs_from_baseline",
            detail=f"{', '.join(against)} explain the difference from the baseline, but ablated units become "
            f"'{sorted(fills - {'baseline'})[0]}'; with fill 'baseline' both speak of the same change",
        )


def of_cluster(
    context: JobContext, found: Attribution, cluster: int, members: np.ndarray, entries: list[MethodBase]
) -> Iterator[Warn]:
    """Warnings about the examples of one cluster; `members` are their numbers in the main pass."""
    name = context.clusters[cluster].name
    same = int(found.examples.at_baseline[members].sum())
    if same:
        yield Warn(
            code="baseline_in_cluster",
            detail=f"{same} of {len(members)} examples equal their baseline, so that nothing can be attributed to them",
            cluster=name,
        )
    tested = len(context.halves[cluster].tested)
    if context.request.ablation and tested < FEWEST_TESTED:
        yield Warn(
            code="hardly_tested",
            detail=f"{tested} of {len(context.clusters[cluster].rows)} examples are left to test on, so that the cluster's verdict "
            "is undecided; a larger cluster, another `split`, or `split: none` (in sample) leaves more",
            cluster=name,
        )
    classes = np.unique(found.examples.classes[members])
    if len(classes) > 1:
        yield Warn(
            code="mixed_targets",
            detail=f"the examples are explained for {len(classes)} different classes; signed scores of unlike classes cancel, "
            "clusters by label or by prediction do not mix them",
            cluster=name,
        )
    flat = int(found.examples.flat[members].sum())
    if 2 * flat > len(members):
        for entry in entries:
            if entry.looks_at_input_only():
                yield Warn(
                    code="saturated",
                    detail=f"the gradient is exactly zero for {flat} of {len(members)} examples; "
                    "conductance looks along the whole path instead, and the score 'logit' saturates less than 'probability'",
                    cluster=name,
                    ranking=entry.id,
                )


def of_ranking(context: JobContext, cluster: int, entry: MethodBase, moments: Moments, result: ClusterRanking) -> Iterator[Warn]:
    """Warnings about one ranking of one cluster."""
    name = context.clusters[cluster].name
    lost = result.cancellation
    if entry.statistic == "mean" and lost is not None and (lost >= CANCELLATION or moments.looks_like_noise()):
        yield Warn(
            code="signed_cancellation",
            detail=f"{lost:.0%} of the scores cancel in the mean over {moments.m} examples"
            + ("; what is left is no more than noise of their size leaves" if moments.looks_like_noise() else "")
            + "; rank by statistic 'mean_abs', or by a method whose sign means the same for all examples",
            cluster=name,
            ranking=entry.id,
        )
    study = result.ablation
    area = study.most.area if study and study.most else None
    if study and area is not None and study.activity_area is not None and area <= study.activity_area:
        yield Warn(
            code="no_better_than_activity",
            detail=f"a ranking of the units by activity does as well (area {study.activity_area:.4g}, this ranking {area:.4g})",
            cluster=name,
            ranking=entry.id,
        )


def of_method(entry: MethodBase, notes: Notes) -> Iterator[Warn]:
    """What the method itself found out while it ran."""
    for code, detail in notes.warnings:
        yield Warn(code=code, detail=detail, ranking=entry.id)


def of_fill(context: JobContext, entry: MethodBase, study: RankingStudy) -> Iterator[Warn]:
    """Where another fill gives another verdict."""
    ablation = context.request.ablation
    assert ablation is not None
    for cluster in study.differs:
        yield Warn(
            code="verdict_depends_on_fill",
            detail=f"the verdict changes when units are replaced by '{ablation.check_fill}' instead of '{ablation.fill}'",
            cluster=None if cluster is None else context.clusters[cluster].name,
            ranking=entry.id,
        )
