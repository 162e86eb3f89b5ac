"""The ranking that may be called the best one of a job.

Controls may not: `random` and `weight_norm` know nothing of the question. Given importances may
come from the test examples, so they are not compared with rankings that did not see these examples.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from unitrank_schemas.results import Ranking, Result

NO_LEADERS = frozenset({"random", "weight_norm"})
"""Methods that are never called the best ranking of a job."""

Method = Mapping[str, Any]


def leading(result: Result) -> Ranking:
    """Return the first ranking of the leaderboard that may be called the best one.

    Where no ranking may, return the first one that is not noise, or else the first one. Without a
    leaderboard, the rankings stay in the request's order.
    """
    rankings = {ranking.id: ranking for ranking in result.rankings}
    order = [leader.ranking for leader in result.leaderboard] or list(rankings)
    return rankings[order[leading_index([rankings[each].method for each in order])]]


def leading_index(methods: Sequence[Method]) -> int:
    """Return the index of the leading ranking. `methods`: those of the rankings, the best first."""
    indices = range(len(methods))
    tried = [index for index in indices if methods[index]["name"] != "random"] or list(indices)
    return next((index for index in tried if _can_lead(methods[index])), tried[0])


def _can_lead(method: Method) -> bool:
    return method["name"] not in NO_LEADERS and not (method["name"] == "given" and method.get("field") is None)
