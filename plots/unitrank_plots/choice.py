"""What a picture is to show of a result."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unitrank_schemas.results import Cluster, Ranking, Result

# Real numbers of any width
Arrays = Mapping[str, NDArray[Any]]


class NoPicture(Exception):
    """There is none of this; `code` is stable, the message says what there is."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


@dataclass(frozen=True)
class Choice:
    """Names and numbers out of the result; None: what the picture shows by itself. `background`: the input as an image."""

    cluster: str | None = None
    ranking: str | None = None
    channel: int | None = None
    example: int | None = None
    background: NDArray[Any] | None = None


def ranking_of(result: Result, choice: Choice) -> Ranking:
    """The named ranking, or the leaderboard's first. Raises NoPicture."""
    name = choice.ranking or (result.leaderboard[0].ranking if result.leaderboard else result.rankings[0].id)
    rankings = {ranking.id: ranking for ranking in result.rankings}
    _check("ranking", name, rankings)
    return rankings[name]


def cluster_of(result: Result, choice: Choice) -> tuple[int, Cluster]:
    """The named cluster with its row in the arrays, or the first. Raises NoPicture."""
    clusters = {cluster.name: (row, cluster) for row, cluster in enumerate(result.clusters)}
    name = result.clusters[0].name if choice.cluster is None else choice.cluster
    _check("cluster", name, clusters)
    return clusters[name]


def unit_name(result: Result, unit: int) -> str:
    """As in a table: the unit's place in the layer's shape, or its number alone."""
    shape = result.layer.shape
    return str(unit) if len(shape) < 2 else ",".join(str(int(place)) for place in np.unravel_index(unit, shape))


def _check(kind: str, choice: str, names: Collection[str]) -> None:
    if choice not in names:
        some = ", ".join(repr(name) for name in list(names)[:5])
        raise NoPicture(f"{kind}_not_found", f"{kind} {choice[:100]!r} not found; there are {some}")
