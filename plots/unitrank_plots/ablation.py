"""The ablation curves: the mean score as units are replaced, or kept, and the random orders."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unitrank_plots.choice import Arrays, Choice
from unitrank_plots.style import BAND, COLOURS, DASHES, figure, first_of, short, title
from unitrank_plots.values.curves import Curves
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
    curves = Curves.of(result, arrays, choice)
    ids, shares = curves.ids, curves.shares
    kept = any(f"ablation/{id}/keep" in arrays for id in ids)
    drawing, (axes, *others) = figure(5.0 if kept else 4.0, 1 + kept)
    low, high = curves.band
    band_label = f"{len(curves.random)} random orders, {100 * curves.level:.4g} %"
    axes.fill_between(shares, low, high, color=BAND, alpha=0.6, linewidth=0, label=band_label)
    drawn = [order for order in WIDTHS if any(f"ablation/{id}/{order}" in arrays for id in ids)]
    for number, id in enumerate(ids[:MOST_RANKINGS]):
        for order in drawn:
            # The legend has one entry for each ranking, with one or both orders.
            label = short(id) if order == drawn[0] else None
            style = {"color": COLOURS[number], "linestyle": DASHES[number], **WIDTHS[order]}
            values = curves.mean(id, order)
            if values is not None:
                axes.plot(shares, values, label=label, **style)
    _scale(axes, shares)
    lines = [
        f"units of {'all layers' if result.layer.parts else short(result.layer.name, 18)} replaced",
        *(ORDER_LABELS[order] for order in drawn),
    ]
    axes.set_xlabel("\n".join(lines))
    axes.set_ylabel("mean score")
    for keep_axes in others:
        _draw_keep(keep_axes, curves)
    title(drawing, f"Ablation, {_short_subject(curves.subject)}{curves.of_class}" + first_of(ids, MOST_RANKINGS, "rankings"))
    if kept:
        # Half the width leaves no room for a legend inside the axes.
        drawing.legend(loc="outside lower center", ncols=2, fontsize=8)
    else:
        axes.legend(loc="best")
    return drawing


def _draw_keep(axes: Axes, curves: Curves) -> None:
    """Draw the mean score with only the first units kept."""
    for number, id in enumerate(curves.ids[:MOST_RANKINGS]):
        values = curves.mean(id, "keep")
        if values is not None:
            axes.plot(curves.shares, values, color=COLOURS[number], linestyle=DASHES[number], **WIDTHS["most"])
    _scale(axes, curves.shares)
    axes.set_xlabel("units kept, the most important first;\nall others replaced")


def _scale(axes: Axes, shares: list[float]) -> None:
    axes.set_xscale("symlog", linthresh=shares[1] if len(shares) > 1 else 0.1)
    axes.set_xticks(shares, [_percent(share) for share in shares], rotation=40)
    axes.minorticks_off()


def _short_subject(subject: str) -> str:
    return f"cluster {short(subject.removeprefix('cluster '))}" if subject.startswith("cluster ") else subject


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.995 else "100 %"
