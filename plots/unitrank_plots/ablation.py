"""The ablation curves: the mean score as units are replaced, or kept, and the random orders."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from unitrank_plots.choice import Arrays, Choice, NoPicture, cluster_of, ranking_of
from unitrank_plots.style import BAND, COLOURS, DASHES, figure, first_of, short, title
from unitrank_schemas.jobs.ablation import Ablation
from unitrank_schemas.methods import CLASS_MARK
from unitrank_schemas.results import Result

MOST_RANKINGS = len(COLOURS)
WIDTHS: dict[str, Any] = {"most": {"marker": "o", "markersize": 3}, "least": {"linewidth": 0.8, "alpha": 0.8}}
ORDER_LABELS = {"most": "thick: the most important first", "least": "thin: the least important first"}


def ablation(result: Result, arrays: Arrays, choice: Choice) -> Figure:
    """The curves of the chosen cluster and ranking.

    Without a cluster, the curves are the mean over all tested clusters. Without a ranking, the
    first `MOST_RANKINGS` of the leaderboard are drawn. Classes have different scores, so the curves
    are those of one class: that of the ranking, or of the leaderboard's first. Raises NoPicture
    without an ablation.
    """
    number = ranking_of(result, choice).target_class
    controls, of_class = (
        ("ablation/random", "") if number is None else (f"ablation/random{CLASS_MARK}{number}", f", class {number}")
    )
    rows, subject = _rows(result, controls in arrays, choice)
    leaders = [leader.ranking for leader in result.leaderboard if leader.target_class == number]
    ids = [choice.ranking] if choice.ranking else leaders
    shares = _shares(result)
    kept = any(f"ablation/{id}/keep" in arrays for id in ids)
    drawing, (axes, *others) = figure(5.0 if kept else 4.0, 1 + kept)
    random = arrays[controls][rows].astype(np.float64).mean(0)
    level = _level(result)
    low, high = np.quantile(random, [(1 - level) / 2, (1 + level) / 2], axis=0)
    band_label = f"{len(random)} random orders, {100 * level:.4g} %"
    axes.fill_between(shares, low, high, color=BAND, alpha=0.6, linewidth=0, label=band_label)
    drawn = [order for order in WIDTHS if any(f"ablation/{id}/{order}" in arrays for id in ids)]
    for number, id in enumerate(ids[:MOST_RANKINGS]):
        for order in drawn:
            # The legend has one entry for each ranking, with one or both orders.
            label = short(id) if order == drawn[0] else None
            style = {"color": COLOURS[number], "linestyle": DASHES[number], **WIDTHS[order]}
            axes.plot(shares, _mean(arrays[f"ablation/{id}/{order}"], rows), label=label, **style)
    _scale(axes, shares)
    lines = [f"units of {short(result.layer.name, 18)} replaced", *(ORDER_LABELS[order] for order in drawn)]
    axes.set_xlabel("\n".join(lines))
    axes.set_ylabel("mean score")
    for keep_axes in others:
        _draw_keep(keep_axes, arrays, ids[:MOST_RANKINGS], rows, shares)
    title(drawing, f"Ablation, {subject}{of_class}" + first_of(ids, MOST_RANKINGS, "rankings"))
    if kept:
        # Half the width leaves no room for a legend inside the axes.
        drawing.legend(loc="outside lower center", ncols=2, fontsize=8)
    else:
        axes.legend(loc="best")
    return drawing


def _draw_keep(axes: Axes, arrays: Arrays, ids: list[str], rows: Sequence[int], shares: list[float]) -> None:
    """Draw the mean score with only the first units kept."""
    for number, id in enumerate(ids):
        if f"ablation/{id}/keep" in arrays:
            style = {"color": COLOURS[number], "linestyle": DASHES[number], **WIDTHS["most"]}
            axes.plot(shares, _mean(arrays[f"ablation/{id}/keep"], rows), **style)
    _scale(axes, shares)
    axes.set_xlabel("units kept, the most important first;\nall others replaced")


def _scale(axes: Axes, shares: list[float]) -> None:
    axes.set_xscale("symlog", linthresh=shares[1] if len(shares) > 1 else 0.1)
    axes.set_xticks(shares, [_percent(share) for share in shares], rotation=40)
    axes.minorticks_off()


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
        return tested, f"cluster {short(result.clusters[tested[0]].name)}"
    row, cluster = cluster_of(result, choice)
    if row not in tested:
        raise NoPicture("no_ablation", f"cluster {cluster.name[:100]!r} had no examples to test on")
    return [row], f"cluster {short(cluster.name)}"


def _level(result: Result) -> float:
    """The confidence level of the job, which its verdicts use too."""
    return Ablation.model_validate(result.provenance.options.get("ablation") or {}).level


def _shares(result: Result) -> list[float]:
    """The share of replaced units at each column of the arrays; the first is 0."""
    tests = (cluster.ablation for ranking in result.rankings for cluster in ranking.clusters.values())
    counts = next(test.counts for test in tests if test is not None)
    return [0.0, *(count / result.layer.count for count in counts)]


def _mean(curves: NDArray[np.float32], rows: Sequence[int]) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = curves[rows].astype(np.float64).mean(0)
    return mean


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.995 else "100 %"
