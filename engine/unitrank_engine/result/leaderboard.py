"""The leaderboard: the rankings of a job, the best one first."""

from collections.abc import Sequence

import numpy as np

from unitrank_engine.ablation.statistics.comparisons import ties_with
from unitrank_schemas import results as schema


def leaderboard(rankings: Sequence[schema.Ranking], comparisons: Sequence[schema.Comparison]) -> list[schema.Leader]:
    """Sort the rankings: better than random first, then by larger area, then by smaller `mae`.

    Rankings that are equal in all three stay in the request's order.
    """
    return sorted((_leader(ranking, comparisons) for ranking in rankings), key=_sort_key)


def _leader(ranking: schema.Ranking, comparisons: Sequence[schema.Comparison]) -> schema.Leader:
    studies = [cluster.ablation for cluster in ranking.clusters.values() if cluster.ablation]
    areas = [study.most.area for study in studies if study.most and study.most.area is not None]
    overall = ranking.overall
    return schema.Leader(
        ranking=ranking.id,
        target_class=ranking.target_class,
        verdict=overall.verdict if overall else None,
        robust=overall.robust if overall else None,
        better_than_random=sum(study.verdict == "better_than_random" for study in studies),
        of=len(studies),
        area=overall.area if overall else None,
        ties_with=ties_with(comparisons, ranking.id),
        mean_area=float(np.mean(areas)) if areas else None,
        mae=ranking.fidelity.mae if ranking.fidelity else None,
    )


def _sort_key(leader: schema.Leader) -> tuple[bool, float, float]:
    area = -np.inf if leader.area is None else leader.area
    return leader.verdict != "better_than_random", -area, np.inf if leader.mae is None else leader.mae
