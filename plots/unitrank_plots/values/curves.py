"""The values of the ablation curves: mean scores as units are replaced or kept."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unitrank_plots.choice import Arrays, Choice, NoPicture, cluster_of, ranking_of
from unitrank_plots.values.numbers import finite
from unitrank_schemas.base import Json
from unitrank_schemas.jobs.ablation import Ablation
from unitrank_schemas.methods import CLASS_MARK
from unitrank_schemas.results import Result

MOST_RANKINGS = 8
"""Rankings that are drawn without a choice: one for each colour."""
ORDERS = ("most", "least")


@dataclass(frozen=True)
class Curves:
    """The curves of some rankings of one class, in one cluster or as the mean over several.

    `ids`: the rankings. `of_class`: the end of a title, for rankings of one class. `rows`: the
    clusters' rows in the arrays. `subject`: the clusters in words. `shares`: the share of replaced
    units at each column of the arrays; the first is 0. `random`: the mean score of each random
    order.
    """

    ids: list[str]
    of_class: str
    rows: Sequence[int]
    subject: str
    shares: list[float]
    random: NDArray[np.float64]
    level: float
    arrays: Arrays

    @classmethod
    def of(cls, result: Result, arrays: Arrays, choice: Choice) -> "Curves":
        """Return the chosen curves. Raises NoPicture without an ablation.

        Classes have different scores, so the curves are those of one class: that of the ranking, or
        of the leaderboard's first.
        """
        chosen = ranking_of(result, choice)
        number = chosen.target_class
        controls = "ablation/random" if number is None else f"ablation/random{CLASS_MARK}{number}"
        rows, subject = _rows(result, controls in arrays, choice)
        leaders = [leader.ranking for leader in result.leaderboard if leader.target_class == number]
        random = arrays[controls][rows].astype(np.float64).mean(0)
        ids = [choice.ranking] if choice.ranking else leaders
        of_class = "" if number is None else f", class {chosen.id.rpartition(CLASS_MARK)[2]}"
        return cls(ids, of_class, rows, subject, _shares(result), random, _level(result), arrays)

    @property
    def band(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The lower and the upper end of the central random orders at each share."""
        low, high = np.quantile(self.random, [(1 - self.level) / 2, (1 + self.level) / 2], axis=0)
        return low, high

    def mean(self, id: str, order: str) -> NDArray[np.float64] | None:
        """The curve of a ranking, from the mean over the clusters; None without this order."""
        name = f"ablation/{id}/{order}"
        return self.arrays[name][self.rows].astype(np.float64).mean(0) if name in self.arrays else None


def ablation(result: Result, arrays: Arrays, choice: Choice) -> Json:
    """The curves of the chosen cluster and ranking. Raises NoPicture without an ablation."""
    curves = Curves.of(result, arrays, choice)
    ids = curves.ids[:MOST_RANKINGS]
    low, high = curves.band
    percent = f"{len(curves.random)} random orders, {100 * curves.level:.4g} %"
    panels = [
        _panel(curves, ids, ORDERS, "units replaced") | {"band": {"name": percent, "low": finite(low), "high": finite(high)}},
        _panel(curves, ids, ("keep",), "units kept, all others replaced"),
    ]
    return {"title": f"Ablation, {curves.subject}{curves.of_class}", "panels": [panel for panel in panels if panel["series"]]}


def _panel(curves: Curves, ids: Sequence[str], orders: Sequence[str], label: str) -> Json:
    series = []
    for order in orders:
        for colour, id in enumerate(ids):
            values = curves.mean(id, order)
            if values is not None:
                series.append({"name": id, "order": order, "colour": colour, "values": finite(values)})
    x = {"label": f"share of {label}", "values": curves.shares, "scale": "share"}
    return {"kind": "lines", "x": x, "y": {"label": "mean score"}, "series": series}


def _rows(result: Result, has_controls: bool, choice: Choice) -> tuple[Sequence[int], str]:
    """The drawn clusters: their rows in the arrays, and their description in the title."""
    if not has_controls:
        raise NoPicture("no_ablation", "the job had no ablation with random orders; post it with `ablation`")
    tested = [row for row, cluster in enumerate(result.clusters) if cluster.tested_on]
    if choice.cluster is None:
        if not tested:
            raise NoPicture("no_ablation", "no cluster of the job had examples to test on")
        if len(tested) > 1:
            return tested, f"mean over {len(tested)} clusters"
        return tested, f"cluster {result.clusters[tested[0]].name}"
    row, cluster = cluster_of(result, choice)
    if row not in tested:
        raise NoPicture("no_ablation", f"cluster {cluster.name[:100]!r} had no examples to test on")
    return [row], f"cluster {cluster.name}"


def _level(result: Result) -> float:
    """The confidence level of the job, which its verdicts use too."""
    return Ablation.model_validate(result.provenance.options.get("ablation") or {}).level


def _shares(result: Result) -> list[float]:
    """The share of replaced units at each column of the arrays; the first is 0."""
    tests = (cluster.ablation for ranking in result.rankings for cluster in ranking.clusters.values())
    counts = next(test.counts for test in tests if test is not None)
    return [0.0, *(count / result.layer.count for count in counts)]
