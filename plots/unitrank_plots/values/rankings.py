"""The values of the pictures that compare rankings."""

import numpy as np
from numpy.typing import NDArray

from unitrank_plots.choice import Arrays, Choice, NoPicture, cluster_of, ranking_of
from unitrank_plots.rank_correlation import spearman_matrix
from unitrank_plots.values.numbers import finite
from unitrank_schemas.base import Json
from unitrank_schemas.results import VERDICT_LABELS, Comparison, Leader, Result, Specificity, place_in_words

MOST = 20
"""Rankings of the leaderboard and the agreement, and pairs of rankings."""
MOST_CLUSTERS = 30


def tested_leaders(result: Result) -> list[Leader]:
    """The first rankings, the best one first. Raises NoPicture if the job had no ablation."""
    first = result.leaderboard[:MOST]
    if all(leader.verdict is None for leader in first):
        raise NoPicture("no_ablation", "the rankings were not tested by ablation; post the job with `ablation`")
    return first


def leaderboard(result: Result, arrays: Arrays, choice: Choice) -> Json:
    """The area of each ranking over all clusters, and its verdict."""
    first = tested_leaders(result)
    panel = {
        "kind": "bars",
        "labels": [leader.ranking for leader in first],
        "values": [leader.area for leader in first],
        "groups": [VERDICT_LABELS[leader.verdict] for leader in first],
        "y": {"label": "area"},
        "x": {"label": "ranking"},
    }
    return {"title": f"Leaderboard of {place_in_words(result.layer)}", "panels": [panel]}


def pairs_of(result: Result, choice: Choice) -> list[Comparison]:
    """The compared pairs of rankings; with a ranking only its own. Raises NoPicture without one."""
    named = ranking_of(result, choice).id if choice.ranking else None
    pairs = [each for each in result.comparisons if each.difference is not None and named in (None, each.a, each.b)]
    if not pairs:
        raise NoPicture("one_ranking", "no two rankings were compared; a job with two methods and an ablation compares them")
    return pairs


def comparisons(result: Result, arrays: Arrays, choice: Choice) -> Json:
    """The differences of rankings with their intervals, where units are replaced and are kept."""
    pairs = pairs_of(result, choice)[:MOST]
    panels = [
        {
            "kind": "intervals",
            "labels": [f"{pair.a} − {pair.b}" for pair in pairs],
            "values": [getattr(pair, f"{prefix}difference") for pair in pairs],
            "low": [getattr(pair, f"{prefix}low") for pair in pairs],
            "high": [getattr(pair, f"{prefix}high") for pair in pairs],
            "y": {"label": f"difference, units {label}"},
            "x": {"label": "pair of rankings"},
        }
        for prefix, label in (("", "replaced"), ("keep_", "kept"))
    ]
    return {
        "title": "Differences between rankings, with intervals: above 0 the first one is better",
        "panels": [panel for panel in panels if any(value is not None for value in panel["values"])],
    }


def correlations(result: Result, arrays: Arrays, choice: Choice) -> tuple[list[str], NDArray[np.float64], str]:
    """The ids of the first rankings, their mean rank correlations, and the clusters in words.

    Raises NoPicture if the job has one ranking only.
    """
    ids = [ranking.id for ranking in result.rankings][:MOST]
    if len(ids) < 2:
        raise NoPicture("one_ranking", "the job has one ranking; agreement needs two or more")
    rows = range(len(result.clusters)) if choice.cluster is None else [cluster_of(result, choice)[0]]
    each = np.stack([spearman_matrix([arrays[f"importance/{id}"][row] for id in ids]) for row in rows])
    # Clusters in which neither ranking is constant.
    counts = np.isfinite(each).sum(0)
    values = np.where(counts > 0, np.nansum(each, axis=0) / np.maximum(counts, 1), np.nan)
    subject = f"mean over {len(rows)} clusters" if len(rows) > 1 else f"cluster {result.clusters[rows[0]].name}"
    return ids, values, subject


def agreement(result: Result, arrays: Arrays, choice: Choice) -> Json:
    """Spearman's correlation of each pair of rankings, in one cluster or averaged over all."""
    ids, values, subject = correlations(result, arrays, choice)
    panel = _matrix(values, ids, ids, "rank correlation", (-1.0, 1.0), "ranking", "ranking")
    return {"title": f"Agreement of the rankings, {subject}", "panels": [panel]}


def specificity_of(result: Result, choice: Choice) -> Specificity:
    """The specificity of the chosen ranking. Raises NoPicture if the job did not test it."""
    ranking = ranking_of(result, choice)
    if ranking.specificity is None:
        raise NoPicture(
            "no_specificity",
            "the orders were not tested on other clusters; post a job with two clusters or more, and with `ablation.specificity` "
            "for more than 20",
        )
    return ranking.specificity


def specificity(result: Result, arrays: Arrays, choice: Choice) -> Json:
    """The area of each cluster's order on the examples of each cluster, for one ranking."""
    matrix = np.array(specificity_of(result, choice).matrix, dtype=np.float64)[:MOST_CLUSTERS, :MOST_CLUSTERS]
    names = [cluster.name for cluster in result.clusters][:MOST_CLUSTERS]
    low, high = float(np.nanmin(matrix, initial=0.0)), float(np.nanmax(matrix, initial=0.0))
    panel = _matrix(matrix, names, names, "area", (low, high), "order of cluster", "examples of cluster")
    id = ranking_of(result, choice).id
    return {"title": f"{id}: each cluster's order on the examples of each cluster", "panels": [panel]}


def _matrix(
    values: NDArray[np.float64],
    rows: list[str],
    columns: list[str],
    label: str,
    limits: tuple[float, float],
    row_label: str,
    column_label: str,
) -> Json:
    return {
        "kind": "matrix",
        "rows": {"label": row_label, "names": rows},
        "columns": {"label": column_label, "names": columns},
        "values": finite(values),
        "value": {"label": label, "low": limits[0], "high": limits[1]},
    }
