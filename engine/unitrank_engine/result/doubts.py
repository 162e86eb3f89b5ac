"""Doubts: the warnings that speak against a better verdict."""

from collections.abc import Sequence

from unitrank_schemas import results as schema
from unitrank_schemas.jobs.ablation import Ablation

ABOUT_RANKINGS = frozenset({"verdict_depends_on_fill", "varies_between_examples", "not_specific", "weights_hardly_matter"})
"""Codes that speak against one ranking."""
ABOUT_EXAMPLES = frozenset({"few_tests", "low_accuracy", "in_sample"})
"""Codes that speak against all rankings."""


def with_doubts(
    ranking: schema.Ranking, activity_area: float | None, warnings: Sequence[schema.Warn], request: Ablation | None
) -> schema.Ranking:
    """Return the ranking with its doubts, and with `robust`: a better verdict without doubts.

    Only a better verdict has doubts. The warning of a cluster is a doubt where at least half of the
    tested clusters have it.

    `activity_area`: area of the order by activity over all clusters.
    """
    overall = ranking.overall
    if overall is None or request is None:
        return ranking
    doubts = _doubts(ranking, activity_area, warnings, request) if overall.verdict == "better_than_random" else []
    robust = overall.verdict == "better_than_random" and not doubts
    return ranking.model_copy(update={"overall": overall.model_copy(update={"doubts": doubts, "robust": robust})})


def _doubts(ranking: schema.Ranking, activity_area: float | None, warnings: Sequence[schema.Warn], request: Ablation) -> list[str]:
    tested = {name: each.ablation for name, each in ranking.clusters.items() if each.ablation and each.ablation.p_value is not None}
    codes = set()
    # Importances that came with the job were not made from the examples that this job ranks on.
    examples = ABOUT_EXAMPLES - ({"in_sample"} if _is_brought(ranking) else set())
    for code in ABOUT_RANKINGS | examples:
        about = ranking.id if code in ABOUT_RANKINGS else None
        places = {each.cluster for each in warnings if each.code == code and each.ranking == about}
        clusters = places & set(tested)
        if None in places or _half(len(clusters), len(tested)):
            codes.add(code)
    area = ranking.overall.area if ranking.overall else None
    if area is not None and activity_area is not None and area <= activity_area:
        codes.add("no_better_than_activity")
    kept = [each.keep.p_value for each in tested.values() if each.keep and each.keep.p_value is not None]
    if _half(sum(p > 1 - request.level + 1e-9 for p in kept), len(kept)):
        codes.add("not_sufficient")
    return sorted(codes)


def _is_brought(ranking: schema.Ranking) -> bool:
    return ranking.method["name"] == "given" and ranking.method.get("field") is None


def _half(number: int, of: int) -> bool:
    return number > 0 and 2 * number >= of
