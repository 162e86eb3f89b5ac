"""Reads the scores to check: an array, a mapping of clusters, or a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unitrank.client.given import GivenRanking, given
from unitrank.dataset_files import array_of
from unitrank.errors import NotPossible
from unitrank.score_files import read_scores

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class GivenScores:
    """Scores of one cluster, or cluster → its scores; each array has the shape of the units."""

    by_cluster: Arrays | None
    of_all: NDArray[Any] | None

    @property
    def size(self) -> int:
        """The number of scores of one cluster."""
        first = next(iter(self.by_cluster.values())) if self.by_cluster else self.of_all
        assert first is not None
        return int(first.size)

    @property
    def clusters(self) -> dict[str, str]:
        """The clusters that fit: the labels for a mapping, else one cluster."""
        return {"by": "all" if self.by_cluster is None else "label"}

    def ranking(self, id: str, made_on: str | None) -> GivenRanking:
        """The scores for the `methods` of a job. Raises NotPossible for unequal shapes."""
        scores = self.of_all if self.by_cluster is None else self.by_cluster
        return given(scores, id, made_on=made_on, per_example=False)


def given_scores(scores: Any) -> GivenScores:
    """The scores of an array, a tensor, a list, a mapping of clusters, or a file.

    `read_scores` describes the file. Raises NotPossible.
    """
    if isinstance(scores, str | Path):
        return given_scores(read_scores(Path(scores)))
    if isinstance(scores, Mapping):
        if not scores:
            raise NotPossible("the scores are empty; give the scores of at least one cluster", code="invalid_request")
        return GivenScores({str(name): _numbers(values, f"scores of cluster {name!r}") for name, values in scores.items()}, None)
    return GivenScores(None, _numbers(scores, "scores"))


def _numbers(values: Any, subject: str) -> NDArray[Any]:
    import numpy as np

    array = array_of(values, subject)
    if array.dtype.kind not in "fiub" or not array.size:
        raise NotPossible(f"the {subject} are {array.dtype} of shape {list(array.shape)}; give a real number for each unit")
    if not np.isfinite(array).all():
        count = int((~np.isfinite(array)).sum())
        raise NotPossible(
            f"{count} of {array.size} {subject} are NaN or infinite, as in a mean over no example; give finite numbers",
            code="non_finite",
        )
    return array.astype(np.float64)
