"""The outline of a summary: all of it but the clusters of its rankings, which are most of it."""

from dataclasses import dataclass
from typing import Any, BinaryIO

from unitrank_schemas.base import Json
from unitrank_schemas.results import JOINT
from unitrank_service.results.json_pieces import JsonPieces
from unitrank_service.results.layers.layer_parts import LAYERS, LONG_LISTS


@dataclass(frozen=True)
class Outline:
    """A summary without the clusters of its rankings, which are most of it.

    `shortest`: the smallest number of units that a ranking has for a cluster.
    """

    summary: Json
    shortest: int

    @classmethod
    def of(cls, file: BinaryIO) -> "Outline":
        """Return the outline of a summary, also of a layered one."""
        pieces, sizes = JsonPieces(file), list[int]()
        return cls(_members(pieces, sizes), min(sizes, default=0))


def _members(pieces: JsonPieces, sizes: list[int]) -> Json:
    return {key: _part(key, pieces, sizes) for key in pieces.members()}


def _part(key: str, pieces: JsonPieces, sizes: list[int]) -> Any:
    if key == LAYERS:
        return {name: _members(pieces, sizes) for name in pieces.members()}
    if key == JOINT and pieces.at_object():
        return _members(pieces, sizes)
    if key == "rankings":
        return [{name: _ranking_part(name, pieces, sizes) for name in pieces.members()} for _ in pieces.elements()]
    if key in LONG_LISTS:
        return [pieces.value() for _ in pieces.elements()]
    return pieces.value()


def _ranking_part(name: str, pieces: JsonPieces, sizes: list[int]) -> Any:
    if name != "clusters":
        return pieces.value()
    for _ in pieces.members():
        sizes.append(len(pieces.value()["top"]))
    return None


def parts_in(summary: Json) -> dict[str, Json]:
    """Return the parts of a layered summary by name: the layers, then `joint`.

    Another summary is its only part.
    """
    if LAYERS not in summary:
        return {summary["layer"]["name"]: summary}
    layers: dict[str, Json] = summary[LAYERS]
    return layers | ({JOINT: summary[JOINT]} if summary.get(JOINT) else {})
