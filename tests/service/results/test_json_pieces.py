"""JSON that is read in pieces is what `json.loads` reads."""

import io
import json
from typing import Any

import pytest

from unitrank_service.results import json_pieces
from unitrank_service.results.json_pieces import JsonPieces

VALUES: list[Any] = [
    *(0, -12, 123456789, 1.5e-300, True, None, "", 'a"]}é\U0001f600', [], {}),
    *([1, [2, {"a": []}], "b"], {"a": {"b": [1, 2]}, "c": "x" * 50}),
]


def pieces_of(value: Any, **options: Any) -> JsonPieces:
    return JsonPieces(io.BytesIO(json.dumps(value, **options).encode()))


@pytest.mark.parametrize("size", [1, 3, 65536])
@pytest.mark.parametrize("options", [{}, {"separators": (",", ":"), "ensure_ascii": False}, {"indent": 1}])
def test_values_when_read_piece_by_piece_then_are_those_of_the_whole(
    monkeypatch: pytest.MonkeyPatch, size: int, options: dict[str, Any]
) -> None:
    monkeypatch.setattr(json_pieces, "READ", size)

    for value in VALUES:
        assert pieces_of(value, **options).value() == value
    pieces = pieces_of(VALUES, **options)
    assert [pieces.value() for _ in pieces.elements()] == VALUES
    pieces = pieces_of({"é": VALUES, "b": {}, "c": []}, **options)
    read = {key: [pieces.value() for _ in pieces.elements()] if key != "b" else list(pieces.members()) for key in pieces.members()}
    assert read == {"é": VALUES, "b": [], "c": []}


@pytest.mark.parametrize("text", [b"", b"[1", b"[1 2]", b"{", b"x"])
def test_text_that_is_not_json_raises(text: bytes) -> None:
    pieces = JsonPieces(io.BytesIO(text))

    with pytest.raises(ValueError, match=r"JSON|Expecting"):
        [pieces.value() for _ in pieces.elements()]
