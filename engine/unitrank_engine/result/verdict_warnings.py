"""Warnings about the tests of the rankings, and about how far a verdict can be relied on."""

from collections.abc import Iterator

import numpy as np

from unitrank_engine.ablation.statistics.verdict import EPSILON, MIN_TESTED
from unitrank_engine.ablation.study import RankingStudy
from unitrank_engine.attribution.examples.sums import ExampleSums
from unitrank_engine.job.context import JobContext
from unitrank_schemas.results import VERDICT_LABELS, Cluster, ClusterRanking, Ranking, Warn

FEW_TESTS = 10
"""Test examples below which an interval is wide and a verdict is weak."""
LOW_ACCURACY = 0.5
LEAST_AGREEMENT = 0.5
"""Mean rank correlation of the importances by single baselines, below which they disagree."""
LEAST_WEIGHTS_MATTER = 0.5
"""Share of the area above random that must depend on the weights behind the layer."""


def of_clusters(context: JobContext) -> Iterator[Warn]:
    """Warnings about the choice of the clusters."""
    request = context.request
    layer = request.clusters.compared_layer()
    if layer in request.layers:
        yield Warn(
            code="clusters_from_this_layer",
            detail=f"k-means found the clusters in layer '{layer}', whose units are ranked: units that differ between the "
            "clusters then seem important for the clusters by construction; find the clusters in another layer, or use labels",
        )


def of_accuracy(sums: ExampleSums) -> Iterator[Warn]:
    """The warning about a model that is worse than always predicting the commonest label."""
    if sums.right is None:
        return
    examples, right, _ = sums.of_job.tolist()
    accuracy, commonest = right / examples, float(sums.labels[:, 1].max() / examples)
    if accuracy < commonest:
        yield Warn(
            code="low_accuracy",
            detail=f"the model is right on {accuracy:.0%} of the examples, and always predicting the commonest label would be "
            f"right on {commonest:.0%}; check the labels, `preprocess` and the model before you read the rankings",
        )


def of_cluster(context: JobContext, cluster: int, summary: Cluster) -> Iterator[Warn]:
    """Warnings about the test examples of one cluster."""
    name = summary.name
    if summary.accuracy is not None and summary.accuracy < LOW_ACCURACY:
        yield Warn(
            code="low_accuracy",
            detail=f"the model is right on {summary.accuracy:.0%} of the cluster's examples, so the rankings mostly explain wrong "
            "predictions; check the labels and `preprocess`, or rank only examples that are classified correctly",
            cluster=name,
        )
    if not context.request.ablation:
        return
    size, tested = len(context.clusters[cluster].rows), len(context.halves[cluster].tested)
    if tested < MIN_TESTED:
        yield Warn(
            code="hardly_tested",
            detail=f"the cluster's verdict is undecided, because only {tested} of its {size} examples are left to test on and "
            f"{MIN_TESTED} are needed; use a larger cluster or another `split` (with `none` all examples test, but in sample)",
            cluster=name,
        )
    if tested < FEW_TESTS:
        examples = "1 example tests" if tested == 1 else f"{tested} examples test"
        yield Warn(
            code="few_tests",
            detail=f"only {examples} the rankings, so that the areas are uncertain and a small effect is missed; use a "
            f"cluster of at least {2 * FEW_TESTS} examples",
            cluster=name,
        )


def of_activity(context: JobContext, cluster: int, ranking: str, result: ClusterRanking) -> Iterator[Warn]:
    """The warning that the order by activity does as well as the ranking."""
    study = result.ablation
    area = study.most.area if study and study.most else None
    if study and area is not None and study.activity_area is not None and area <= study.activity_area:
        yield Warn(
            code="no_better_than_activity",
            detail=f"a ranking of the units by activity does as well (area {study.activity_area:.4g}, this ranking {area:.4g}), "
            "so this ranking shows no more than which units are active; try another method or statistic",
            cluster=context.clusters[cluster].name,
            ranking=ranking,
        )


def of_verdict(context: JobContext, ranking: Ranking, study: RankingStudy) -> Iterator[Warn]:
    """Warnings about one ranking's verdicts."""
    names = {number: cluster.name for number, cluster in enumerate(context.clusters)}
    for cluster, reason in study.reasons.items():
        yield Warn(
            code="undecided",
            detail=f"the verdict is undecided: {reason}",
            cluster=None if cluster is None else names[cluster],
            ranking=ranking.id,
        )
    yield from _of_reversal(ranking, study)
    yield from _of_fill(context, ranking, study)
    yield from _of_examples(context, ranking, study)
    yield from _of_specificity(context, ranking)
    yield from _of_weights(context, ranking)


def _of_reversal(ranking: Ranking, study: RankingStudy) -> Iterator[Warn]:
    """The warning that the reversed order of a ranking is better than random."""
    outcome = study.reversed_order
    if outcome is None or outcome.verdict != "better_than_random":
        return
    area = "" if outcome.area is None else f", area {outcome.area:.4g}"
    yield Warn(
        code="may_be_reversed",
        detail=f"the reversed order was tested, too, and is better than random (p = {outcome.better:.2g}{area}), so the scores may "
        "have the wrong sign; check the sign, and whether a small score means an important unit",
        ranking=ranking.id,
    )


def _of_fill(context: JobContext, ranking: Ranking, study: RankingStudy) -> Iterator[Warn]:
    """Warnings about verdicts that change with another fill.

    The warning about the overall verdict names no cluster.
    """
    ablation = context.request.ablation
    assert ablation is not None
    for cluster, other in study.other_verdicts.items():
        verdict = study.overall.verdict if cluster is None else study.clusters[cluster].verdict
        area = "" if other.area is None else f", area {other.area:.4g}"
        yield Warn(
            code="verdict_depends_on_fill",
            detail=f"the verdict changes ({VERDICT_LABELS[verdict]} → {VERDICT_LABELS[other.verdict]}) when units are replaced by "
            f"'{ablation.check_fill}' instead of '{ablation.fill}' (p = {other.better:.2g}{area}); do not rely on either one alone",
            cluster=None if cluster is None else context.clusters[cluster].name,
            ranking=ranking.id,
        )


def _of_examples(context: JobContext, ranking: Ranking, study: RankingStudy) -> Iterator[Warn]:
    """The warning that a better verdict may hold only for these test examples."""
    ablation, p = context.request.ablation, study.p_other_examples
    if ablation is None or p is None or p <= 1 - ablation.level + EPSILON or study.overall.verdict != "better_than_random":
        return
    yield Warn(
        code="varies_between_examples",
        detail=f"the ranking's lead over random orders varies much between the test examples (p = {p:.2g}), so on other examples "
        "of the same kind the ranking may do no better than a random order; test it on more examples, or run the job with "
        "other seeds",
        ranking=ranking.id,
    )


def _of_specificity(context: JobContext, ranking: Ranking) -> Iterator[Warn]:
    specificity, ablation = ranking.specificity, context.request.ablation
    if specificity is None or ablation is None or not specificity.selectivity:
        return
    mean, p = float(np.mean(list(specificity.selectivity.values()))), specificity.overall_p_value
    if (mean > 0) if p is None else (p <= 1 - ablation.level + EPSILON):
        return
    measured = f"mean selectivity {mean:.3g}" + ("" if p is None else f", p = {p:.2g}")
    yield Warn(
        code="not_specific",
        detail=f"the orders of other clusters do as well on a cluster's examples as its own order ({measured}), so the ranking may "
        "show units that matter to the model as a whole, and not to the cluster; compare it with one ranking of all examples",
        ranking=ranking.id,
    )


def _of_weights(context: JobContext, ranking: Ranking) -> Iterator[Warn]:
    """The warning that the method orders the units as well without the weights of the tail.

    The control `random` has no weights to depend on, so it gets no warning.
    """
    matter = ranking.weights_matter
    if matter is None or matter >= LEAST_WEIGHTS_MATTER or ranking.method["name"] == "random":
        return
    yield Warn(
        code="weights_hardly_matter",
        detail=f"with permuted weights behind layer '{context.request.one_layer}' the method still reaches {1 - matter:.0%} of the "
        "ranking's area above random, so the order shows mainly which units are active, and less how the model uses them; use a "
        "method that follows the weights, such as 'conductance', or do not read the order as an explanation of the model",
        ranking=ranking.id,
    )


def of_baselines(cluster: str, ranking: str, result: ClusterRanking) -> Iterator[Warn]:
    """The warning that another choice of baselines would give another ranking."""
    baselines = result.baselines
    if baselines is None or baselines.agreement is None or baselines.agreement >= LEAST_AGREEMENT:
        return
    yield Warn(
        code="baselines_disagree",
        detail=f"the rankings by {baselines.followed} single baselines differ (mean rank correlation {baselines.agreement:.2f}, at "
        f"least {LEAST_AGREEMENT:g} is expected), so the ranking depends on the rows that were drawn; draw more rows with `count`, "
        f"or rows of one kind with `where`; the array baseline_spread/{ranking} shows which units depend on the baseline",
        cluster=cluster,
        ranking=ranking,
    )
