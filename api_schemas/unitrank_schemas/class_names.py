"""The names of classes in texts: `3 (dog)` for the class 3."""

from collections.abc import Mapping
from typing import Any

from unitrank_schemas.base import Schema
from unitrank_schemas.methods import CLASS_MARK
from unitrank_schemas.results import LayeredResult, Ranking, Result, Specificity, Warn

OF_CLASSES = ("label", "prediction")
"""Kinds of clusters that have the numbers of classes as their names."""


class ClassNames(Schema):
    """The names of a job's classes: class number as text → name. Empty without names."""

    classes: dict[str, str]


def given_names(classes: Any) -> Mapping[str, str]:  # Any: JSON
    """Return class number → name, from a list of names or an object with a name for each class.

    >>> given_names(["cat", "dog"])
    {'0': 'cat', '1': 'dog'}
    """
    if isinstance(classes, list):
        return {str(number): str(name) for number, name in enumerate(classes)}
    return {str(number): str(name) for number, name in classes.items()} if isinstance(classes, dict) else {}


def named(name: str, classes: Mapping[str, str]) -> str:
    """Return the name of a cluster, or a ranking's id with its class, with the class in words.

    >>> named("3", {"3": "dog"}), named("gradient@3", {"3": "dog"}), named("all", {"3": "dog"})
    ('3 (dog)', 'gradient@3 (dog)', 'all')
    """
    text = classes.get(name.rpartition(CLASS_MARK)[2])
    return name if text is None else f"{name} ({text})"


def renamed(result: Result, classes: Mapping[str, str]) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Return id of a ranking → its id with the class in words, and the same for clusters.

    Only rankings of one class, and clusters by label or prediction, have other names.
    """
    rankings = {each.id: each.id if each.target_class is None else named(each.id, classes) for each in result.rankings}
    of_clusters = classes if of_classes(result) else {}
    return rankings, {each.name: named(each.name, of_clusters) for each in result.clusters}


def of_classes(result: Result | LayeredResult) -> bool:
    """Return whether the clusters of the result are classes."""
    return (result.provenance.options.get("clusters") or {}).get("by") in OF_CLASSES


def shows_classes(result: Result | LayeredResult) -> bool:
    """Return whether a cluster or a ranking of the result is named by the number of a class."""
    parts = result.parts().values() if isinstance(result, LayeredResult) else [result]
    return of_classes(result) or any(each.target_class is not None for part in parts for each in part.rankings)


def with_class_names(result: Result, classes: Mapping[str, str]) -> Result:
    """Return the result with the names of classes in its clusters and rankings, for texts.

    Its arrays keep their names, and `provenance` its options.
    """
    if not classes:
        return result
    rankings, clusters = renamed(result, classes)
    # A result of an older version, or a part of a result, may name further rankings.
    ranking, cluster = _Names(rankings), _Names(clusters)
    update: dict[str, Any] = {
        "clusters": [each.model_copy(update={"name": cluster[each.name]}) for each in result.clusters],
        "rankings": [_ranking(each, ranking, cluster) for each in result.rankings],
        "leaderboard": [
            each.model_copy(
                update={"ranking": ranking[each.ranking], "ties_with": [ranking[id] for id in each.ties_with]},
            )
            for each in result.leaderboard
        ],
        "comparisons": [each.model_copy(update={"a": ranking[each.a], "b": ranking[each.b]}) for each in result.comparisons],
        "agreement": [each.model_copy(update={"a": ranking[each.a], "b": ranking[each.b]}) for each in result.agreement],
        "given": [
            each.model_copy(update={"ranking": ranking[each.ranking], "nearest": ranking[each.nearest]}) for each in result.given
        ],
        "warnings": [_warning(each, ranking, cluster) for each in result.warnings],
    }
    return result.model_copy(update=update)


class _Names(dict[str | None, Any]):
    """Name → name in words; another name, or None, stays as it is."""

    def __missing__(self, name: str | None) -> str | None:
        return name


def _ranking(ranking: Ranking, rankings: _Names, clusters: _Names) -> Ranking:
    fidelity = ranking.fidelity
    return ranking.model_copy(
        update={
            "id": rankings[ranking.id],
            "clusters": {clusters[name]: each for name, each in ranking.clusters.items()},
            "specificity": ranking.specificity and _specificity(ranking.specificity, clusters),
            "fidelity": fidelity and fidelity.model_copy(update={"against": rankings[fidelity.against]}),
        }
    )


def _specificity(specificity: Specificity, clusters: _Names) -> Specificity:
    of_clusters = ("selectivity", "selectivity_low", "selectivity_high", "p_value")
    return specificity.model_copy(
        update={name: {clusters[each]: value for each, value in getattr(specificity, name).items()} for name in of_clusters}
    )


def _warning(warning: Warn, rankings: _Names, clusters: _Names) -> Warn:
    return warning.model_copy(update={"ranking": rankings[warning.ranking], "cluster": clusters[warning.cluster]})
