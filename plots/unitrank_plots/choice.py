"""The part of a result that a picture shows."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from numpy.typing import NDArray

from unitrank_schemas.leading import leading
from unitrank_schemas.results import Cluster, Ranking, Result, name_of_unit

Style = Literal["screen", "paper"]
# Any: real numbers of any width.
Arrays = Mapping[str, NDArray[Any]]


class NoPicture(Exception):
    """The result lacks the data of this picture.

    `code`: the stable code of the problem. `detail`: the reason, with the names that exist.
    """

    def __init__(self, code: str, detail: str) -> None:
        # Both: an exception that another process raised is made again from its arguments.
        super().__init__(code, detail)
        self.code = code
        self.detail = detail


@dataclass(frozen=True)
class Choice:
    """The cluster, ranking, channel and example of a picture.

    None leaves the choice to the picture, for example the first cluster, the best ranking, the sum
    over channels and the importance over all examples of the cluster. `background`: the input as an
    image, drawn under a heatmap. `style`: `paper` is for print: without a title, in a serif font.
    `classes`: number of a class → its name, for the picture's texts.
    """

    cluster: str | None = None
    ranking: str | None = None
    channel: int | None = None
    example: int | None = None
    background: NDArray[Any] | None = None
    style: Style = "screen"
    classes: Mapping[str, str] = field(default_factory=dict)


def ranking_of(result: Result, choice: Choice) -> Ranking:
    """The named ranking, or the one that leads. Raises NoPicture for another name."""
    name = choice.ranking or leading(result).id
    rankings = {ranking.id: ranking for ranking in result.rankings}
    _check("ranking", name, rankings)
    return rankings[name]


def cluster_of(result: Result, choice: Choice) -> tuple[int, Cluster]:
    """The named cluster, or the first one: its row in the arrays, and the cluster itself.

    Raises NoPicture for a name that the result does not have.
    """
    clusters = {cluster.name: (row, cluster) for row, cluster in enumerate(result.clusters)}
    name = result.clusters[0].name if choice.cluster is None else choice.cluster
    _check("cluster", name, clusters)
    return clusters[name]


def unit_name(result: Result, unit: int) -> str:
    """The unit's name, such as `3,0,1` (its place in the layer), `head 3`, or `relu1 · 17`."""
    return name_of_unit(result.layer, unit)


def _check(kind: str, choice: str, names: Collection[str]) -> None:
    if choice not in names:
        first = ", ".join(repr(name) for name in list(names)[:5])
        raise NoPicture(f"{kind}_not_found", f"{kind} {choice[:100]!r} not found; the result has {first}")
