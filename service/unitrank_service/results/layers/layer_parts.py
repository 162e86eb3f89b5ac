"""Reads the parts of a layered summary from a file, piece by piece.

A part becomes a summary of its own, as a job of this layer alone has it.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO

from unitrank_schemas.base import Json
from unitrank_schemas.results import JOINT
from unitrank_service.http.responses import encoded
from unitrank_service.results.json_pieces import JsonPieces

LAYERS = "layers"
PIECE = 256
"""Entries of a list that are encoded at a time."""
LONG_LISTS = ("clusters", "warnings")
"""Keys of a summary whose lists may have an entry for each cluster."""
Scratch = Callable[[], BinaryIO]
"""Returns an empty file."""


def part_names(file: BinaryIO) -> list[str]:
    """Return the names of the layers, then `joint` if there is one; none for another summary."""
    names: list[str] = []
    for name, pieces in _parts(file):
        names.append(name)
        _skip(pieces)
    return names


def parts_of(file: BinaryIO, scratch: Scratch) -> Iterator[tuple[str, BinaryIO]]:
    """Yield name and summary of each part. The caller closes the files.

    The summary has no warnings that hold for every layer.
    """
    shared = shared_of(file)
    for name, pieces in _parts(file):
        yield name, _written(shared | {"warnings": []}, pieces, scratch())


def part_of(file: BinaryIO, name: str, scratch: Scratch) -> BinaryIO:
    """Return the summary of a part as a file. Close the file. Raises KeyError for another name."""
    shared = shared_of(file)
    for each, pieces in _parts(file):
        if each == name:
            return _written(shared, pieces, scratch())
        _skip(pieces)
    raise KeyError(name)


def shared_of(file: BinaryIO) -> Json:
    """Return the members of a layered summary that are about the whole job."""
    pieces, shared = JsonPieces(file), {}
    for key in pieces.members():
        if key == LAYERS:
            for _ in pieces.members():
                _skip(pieces)
        elif key == JOINT and pieces.at_object():
            _skip(pieces)
        elif key in LONG_LISTS:
            shared[key] = [pieces.value() for _ in pieces.elements()]
        else:
            shared[key] = pieces.value()
    shared.pop(JOINT, None)
    return shared


def _parts(file: BinaryIO) -> Iterator[tuple[str, JsonPieces]]:
    """Yield the name of each part; its object comes next. Read the object before the next part."""
    pieces = JsonPieces(file)
    for key in pieces.members():
        if key == LAYERS:
            for name in pieces.members():
                yield name, pieces
        elif key == JOINT and pieces.at_object():
            yield JOINT, pieces
        else:
            _skip_member(key, pieces)


def _skip(pieces: JsonPieces) -> None:
    """Read the part that comes next, and forget it."""
    for name in pieces.members():
        _skip_member(name, pieces)


def _skip_member(name: str, pieces: JsonPieces) -> None:
    if name == "rankings":
        for _ in pieces.elements():
            for key in pieces.members():
                _skip_clusters(pieces) if key == "clusters" else pieces.value()
    elif name in LONG_LISTS:
        for _ in pieces.elements():
            pieces.value()
    else:
        pieces.value()


def _skip_clusters(pieces: JsonPieces) -> None:
    for _ in pieces.members():
        pieces.value()


def _written(shared: Json, pieces: JsonPieces, file: BinaryIO) -> BinaryIO:
    """Write the summary of the part that comes next."""
    about = {name: value for name, value in shared.items() if name != "warnings"}
    file.write(encoded(about)[:-1])
    for chunk in _members(pieces, shared["warnings"]):
        file.write(chunk)
    file.write(b"}")
    file.seek(0)
    return file


def _members(pieces: JsonPieces, warnings: Sequence[Json]) -> Iterator[bytes]:
    """Yield the members of a part, each behind a comma. `warnings`: those of the whole job."""
    for name in pieces.members():
        yield b"," + encoded(name) + b":"
        yield from _member(name, pieces, warnings)


def _member(name: str, pieces: JsonPieces, warnings: Sequence[Json]) -> Iterator[bytes]:
    if name == "rankings":
        yield b"["
        for number, _ in enumerate(pieces.elements()):
            yield b"," * (number > 0) + b"{"
            yield from _ranking(pieces)
            yield b"}"
        yield b"]"
    elif name in LONG_LISTS:
        entries = [pieces.value() for _ in pieces.elements()]
        yield from _listed([*warnings, *entries] if name == "warnings" else entries)
    else:
        yield encoded(pieces.value())


def _ranking(pieces: JsonPieces) -> Iterator[bytes]:
    for number, name in enumerate(pieces.members()):
        yield b"," * (number > 0) + encoded(name) + b":"
        if name != "clusters":
            yield encoded(pieces.value())
            continue
        yield b"{"
        for place, cluster in enumerate(pieces.members()):
            yield b"," * (place > 0) + encoded(cluster) + b":" + encoded(pieces.value())
        yield b"}"


def _listed(entries: Sequence[Any]) -> Iterator[bytes]:
    yield b"["
    for start in range(0, len(entries), PIECE):
        yield b"," * (start > 0) + encoded(entries[start : start + PIECE])[1:-1]
    yield b"]"
