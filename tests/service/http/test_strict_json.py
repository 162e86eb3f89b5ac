"""The strict parser accepts plain JSON, and reports the place of each error."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unitrank_service.errors import HttpProblem, InvalidBody
from unitrank_service.http.strict_json import DEPTH, parse

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)


@given(JSON)
def test_parse_of_any_json_gives_what_json_gives(value: Any) -> None:
    body = json.dumps(value).encode()

    assert parse(body) == json.loads(body)


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        (b'{"a": NaN}', "number_not_finite", "/a"),
        (b'{"a": [1, Infinity]}', "number_not_finite", "/a/1"),
        (b'{"a": -Infinity}', "number_not_finite", "/a"),
        (b'{"a": {"b": 1e309}}', "number_not_finite", "/a/b"),
        (b'{"a": -1e400}', "number_not_finite", "/a"),
        (b'{"a": ' + b"9" * 5000 + b"}", "number_not_finite", "/a"),
        (b'{"a": 1, "a": 1}', "duplicate_key", "/a"),
        (b'{"x": {"a/b": 1, "a/b": 2}}', "duplicate_key", "/x/a~1b"),
        (b'{"a": "\\ud800"}', "invalid_text", "/a"),
        (b'{"\\udfff": 1}', "invalid_text", ""),
        (b"[" * 33 + b"]" * 33, "too_deep", ""),
        (b"[" * 100_000, "too_deep", ""),
    ],
)
def test_parse_of_json_that_is_too_liberal_names_the_place(body: bytes, code: str, pointer: str) -> None:
    with pytest.raises(InvalidBody) as caught:
        parse(body)

    assert caught.value.status_code == 422
    assert [(error.code, error.pointer) for error in caught.value.errors or []] == [(code, pointer)]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"{'a': 1}", b"[1,]", b'{"a": 01}', b"\xff\xfe", b"\xef\xbb\xbf{}", b'"\x01"', b"nul", b"{} {}"]
)
def test_parse_of_no_json_is_malformed(body: bytes) -> None:
    with pytest.raises(HttpProblem) as caught:
        parse(body)

    assert (caught.value.status_code, caught.value.code) == (400, "malformed_json")


def test_parse_at_the_greatest_depth_is_fine() -> None:
    body = b"[" * DEPTH + b"]" * DEPTH

    assert parse(body) == json.loads(body)


def test_parse_of_brackets_in_text_does_not_count_them() -> None:
    body = json.dumps({"a": "[{" * 100 + '\\"[[['}).encode()

    assert parse(body) == json.loads(body)


def test_parse_of_whole_surrogate_pairs_is_fine() -> None:
    assert parse(b'"\\ud83d\\ude00"') == "\N{GRINNING FACE}"
