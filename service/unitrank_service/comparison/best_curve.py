"""The curve of a job's best ranking: the share of the score that is left as units are replaced."""

import numpy as np

from unitrank_schemas.comparison import BestCurve
from unitrank_schemas.leading import leading
from unitrank_schemas.methods import CLASS_MARK
from unitrank_service.comparison.paired_drops import TestedResult, has_area


def best_curve(tested: TestedResult) -> BestCurve | None:
    """Return the curve of the best ranking.

    Returns None without a cluster that has an area, without the order `most`, for results of older
    versions, and for tests of accuracy, whose scores do not decide.
    """
    result, arrays, ablation = tested.result, tested.arrays, tested.ablation
    if not result.leaderboard or ablation is None or ablation.measure != "score":
        return None
    best = leading(result)
    mark = "" if best.target_class is None else f"{CLASS_MARK}{best.target_class}"
    curves, dropped = arrays.get(f"ablation/{best.id}/most"), arrays.get(f"tests/all_replaced{mark}")
    if curves is None or dropped is None:
        return None
    places = [(row, place) for row, (name, place) in enumerate(tested.slices()) if has_area(best, name)]
    if not places:
        return None
    totals = sum(float(dropped[place].mean(dtype=np.float64)) for _, place in places)
    # S₀ − S_k, summed over the clusters
    drops = sum((curves[row, 0] - curves[row].astype(np.float64) for row, _ in places), np.zeros(curves.shape[1]))
    counts = ablation.counts_of(result.layer.count)
    return BestCurve(
        ranking=best.id,
        shares=[0.0, *(count / result.layer.count for count in counts)],
        left=[float(value) for value in 1 - drops / totals],
    )
