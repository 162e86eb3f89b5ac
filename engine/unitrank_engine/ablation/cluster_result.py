"""Writes the result of a ranking's test on one cluster."""

from collections.abc import Mapping

import numpy as np

from unitrank_engine.ablation.masks.tested import Curves, TestedCluster, TestedRanking
from unitrank_engine.ablation.statistics.judgement import ClusterJudgement
from unitrank_engine.ablation.statistics.keep import keep_area, srg, units_for_90
from unitrank_engine.ablation.statistics.removable import removable_at
from unitrank_engine.ablation.statistics.verdict import EPSILON, chance
from unitrank_schemas.jobs.ablation import Ablation
from unitrank_schemas.results import AblationResult, Band, Control, Curve, KeepCurve, LeastCurve


def cluster_result(
    cluster: TestedCluster, ranking: TestedRanking, judgement: ClusterJudgement, *, counts: Mapping[int, float], request: Ablation
) -> AblationResult:
    """Return the result. `counts`: number of replaced units → the requested fraction."""
    tested = cluster.examples > 0 and bool(counts)
    orders = ranking.orders if tested else {}
    most, least, activity = orders.get("most"), orders.get("least"), cluster.activity if tested else None
    random = cluster.random if tested and len(cluster.random.score) else None
    compared = random if ranking.ordered else None
    keep = ranking.keep if tested else None
    kept = keep.measured(cluster.measure)[0] if keep else None
    total = cluster.area_total
    return AblationResult(
        counts=list(counts),
        fractions=list(counts.values()),
        most=_curve(cluster, most) if most else None,
        least=_least(cluster, least, compared) if least else None,
        keep=_keep(cluster, keep, cluster.random_keep if compared else None) if keep else None,
        random=_control(cluster, random, request.level) if random else None,
        activity_area=cluster.area(cluster.drop(activity)) if activity else None,
        p_value=judgement.chance.p_value if judgement.chance else None,
        p_worse=judgement.chance.p_worse if judgement.chance else None,
        p_holm=judgement.p_holm,
        p_family=judgement.p_family,
        keep_area=keep_area(kept, intact=cluster.intact, total=total) if kept is not None else None,
        srg=srg(most=cluster.drop(most), least=cluster.drop(least), total=total) if most and least else None,
        units_for_90=units_for_90(list(counts), kept, intact=cluster.intact, total=total) if kept is not None else None,
        removable_at=_removable_at(cluster, ranking, list(counts), request) if tested else None,
        verdict=judgement.verdict,
    )


def _removable_at(cluster: TestedCluster, ranking: TestedRanking, counts: list[int], request: Ablation) -> int | None:
    if ranking.newly_wrong is None:
        return None
    wrong = [int(count) for count in ranking.newly_wrong]
    return removable_at(counts, wrong, examples=cluster.examples, level=request.level, tolerance=request.tolerance)


def _share_below(cluster: TestedCluster, curve: Curves, random: Curves | None) -> float | None:
    """Return the share of the orders whose mean drop is at most this one's; small means better."""
    return chance(cluster.drop(curve), cluster.drops(random)).p_worse if random else None


def _curve(cluster: TestedCluster, curve: Curves) -> Curve:
    return Curve(score=curve.score[0].tolist(), accuracy=_accuracy(curve), area=cluster.area(cluster.drop(curve)))


def _least(cluster: TestedCluster, curve: Curves, random: Curves | None) -> LeastCurve:
    return LeastCurve(**_curve(cluster, curve).model_dump(), p_value=_share_below(cluster, curve, random))


def _keep(cluster: TestedCluster, curve: Curves, random: Curves | None) -> KeepCurve:
    return KeepCurve(score=curve.score[0].tolist(), accuracy=_accuracy(curve), p_value=_share_below(cluster, curve, random))


def _accuracy(curve: Curves) -> list[float] | None:
    return None if curve.accuracy is None else curve.accuracy[0].tolist()


def _control(cluster: TestedCluster, random: Curves, level: float) -> Control:
    drops = cluster.drops(random)
    areas = [area for value in drops if (area := cluster.area(float(value))) is not None]
    # With p = (1 + number of random drops ≥ D) / (R + 1), this many drops may be at least D.
    allowed = int((1 - level) * (len(drops) + 1) + EPSILON)
    return Control(
        score=_band(random.score, level),
        accuracy=None if random.accuracy is None else _band(random.accuracy, level),
        area=float(np.mean(areas)) if areas else None,
        area_to_beat=cluster.area(float(np.sort(drops)[-allowed])) if allowed else None,
    )


def _band(curves: np.ndarray, level: float) -> Band:
    """Return at each count the mean over orders, and the central range with the share `level`."""
    low, high = np.quantile(curves, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return Band(mean=curves.mean(0).tolist(), low=low.tolist(), high=high.tolist())
