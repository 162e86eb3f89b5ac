"""The names of classes in plots: result, arrays and choice with the same names."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from unitrank_plots.choice import Arrays, Choice, cluster_of, ranking_of
from unitrank_schemas.class_names import renamed, with_class_names
from unitrank_schemas.results import Result


def in_words(result: Result, arrays: Arrays, choice: Choice) -> tuple[Result, Arrays, Choice]:
    """Return the three with the classes of `choice` in words.

    Raises NoPicture for a ranking or a cluster that the result does not have.
    """
    if not choice.classes:
        return result, arrays, choice
    # The error for an unknown name lists the names that a request may have.
    ranking_of(result, choice), cluster_of(result, choice)
    rankings, clusters = renamed(result, choice.classes)
    chosen = replace(
        choice,
        ranking=choice.ranking and rankings[choice.ranking],
        cluster=choice.cluster and clusters[choice.cluster],
        classes={},
    )
    words = {own: name for names in (rankings, clusters) for own, name in names.items()}
    return with_class_names(result, choice.classes), _Arrays(arrays, words), chosen


class _Arrays(Mapping[str, NDArray[Any]]):
    """Arrays by their names, and by the names with classes in words.

    `words`: id of a ranking, or name of a cluster → the same with its class in words.
    """

    def __init__(self, arrays: Arrays, words: Mapping[str, str]) -> None:
        self._arrays = arrays
        self._own = {"/".join(words.get(part, part) for part in name.split("/")): name for name in arrays}

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._arrays[self._own.get(name, name)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)
