"""The rows of a result's tables, as texts: rankings, comparisons of rankings, and clusters."""

from unitrank_schemas.result_text import number
from unitrank_schemas.results import VERDICT_LABELS, Cluster, Leader, RankedLayer, Ranking, Result, name_of_unit

MOST_UNITS = 5
"""Units in a row of the table of clusters."""
MOST_COMPARISONS = 45
"""Comparisons in the table: those of ten rankings."""


def leader_line(leader: Leader, result: Result) -> dict[str, str]:
    """Return one row of the leaderboard."""
    ranking = next(each for each in result.rankings if each.id == leader.ranking)
    return {
        "ranking": leader.ranking,
        "verdict": VERDICT_LABELS[leader.verdict],
        "strength": strength(leader),
        "p": number(ranking.overall.deciding_p if ranking.overall else None),
        "better": f"{leader.better_than_random} of {leader.of}",
        "area": number(leader.area),
        "ties": ", ".join(leader.ties_with) or "–",
        "mae": number(leader.mae),
        "no_change": number(ranking.fidelity.mae_of_zero if ranking.fidelity else None),
    }


def strength(leader: Leader) -> str:
    """Return whether a better verdict is robust or fragile; a dash for another verdict."""
    if leader.verdict != "better_than_random" or leader.robust is None:
        return "–"
    return "robust" if leader.robust else "fragile"


def comparison_lines(result: Result) -> list[dict[str, str]]:
    """Return the rows of the comparisons of two rankings."""
    return [
        {
            "a": each.a,
            "b": each.b,
            "difference": with_interval(each.difference, each.low, each.high),
            "keep": with_interval(each.keep_difference, each.keep_low, each.keep_high),
            "ahead": {"a": each.a, "b": each.b, None: "neither"}[each.ahead],
        }
        for each in result.comparisons[:MOST_COMPARISONS]
    ]


def with_interval(value: float | None, low: float | None, high: float | None) -> str:
    """Return a number with its interval; a dash for None."""
    return "–" if value is None else f"{number(value)} [{number(low)}, {number(high)}]"


def cluster_line(cluster: Cluster, ranking: Ranking, layer: RankedLayer) -> dict[str, str]:
    """Return one row of the table of clusters."""
    result = ranking.clusters[cluster.name]
    test = result.ablation
    units = (name_of_unit(layer, unit.unit) for unit in result.top[:MOST_UNITS])
    selectivity = ranking.specificity.selectivity if ranking.specificity else {}
    return {
        "name": cluster.name,
        "examples": str(cluster.examples),
        "accuracy": number(cluster.accuracy),
        "verdict": VERDICT_LABELS[test.verdict if test else None],
        "p": number(test.p_value if test else None),
        "p_family": number(test.p_family if test else None),
        "area": number(test.most.area if test and test.most else None),
        "to_beat": number(test.random.area_to_beat if test and test.random else None),
        "activity": number(test.activity_area if test else None),
        "keep": number(test.keep_area if test else None),
        "selectivity": number(selectivity.get(cluster.name)),
        "top": "  ".join(units),
    }
