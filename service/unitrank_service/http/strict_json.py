"""JSON without the liberties that `json` takes: no NaN, no overflow, no duplicate keys, no deep nesting, no lone surrogates."""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from unitrank_schemas.json_pointer import pointer
from unitrank_schemas.problems import Invalid
from unitrank_service.errors import HttpProblem, InvalidBody

DEPTH = 32
DIGITS = 1000
"""Longest integer; Python's own limit of 4300 digits would otherwise end as an error of the parser."""

_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


@dataclass(frozen=True)
class _JsonFlaw:
    """Stands in the parsed document where something is wrong, until its place is known."""

    code: str
    detail: str


def parse(body: bytes) -> Any:
    """The document, as `json.loads` would give it. Raises HttpProblem (400) for no JSON, InvalidBody (422) for JSON too liberal."""
    _check_depth(body)
    flaws: list[_JsonFlaw] = []
    document = _decode(body, flaws)
    if flaws or _SURROGATE.search(body):
        errors = list(_places(document, ""))
        if errors:
            raise InvalidBody(errors)
    return document


def _decode(body: bytes, flaws: list[_JsonFlaw]) -> Any:
    def flaw(code: str, detail: str) -> _JsonFlaw:
        flaws.append(_JsonFlaw(code, detail))
        return flaws[-1]

    def constant(text: str) -> _JsonFlaw:
        return flaw("number_not_finite", f"{text} is no JSON number; use a finite number")

    def real(text: str) -> float | _JsonFlaw:
        value = float(text)
        if math.isfinite(value):
            return value
        return flaw("number_not_finite", f"{text[:40]} overflows a 64-bit float; use a finite number")

    def integer(text: str) -> int | _JsonFlaw:
        if len(text) <= DIGITS:
            return int(text)
        return flaw("number_not_finite", f"an integer of {len(text)} digits; at most {DIGITS} are read")

    def mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        fields = dict(pairs)
        if len(fields) < len(pairs):
            seen: set[str] = set()
            for key, _ in pairs:
                if key in seen:
                    fields[key] = flaw("duplicate_key", f"the key {key[:100]!r} appears more than once; name it once")
                seen.add(key)
        return fields

    try:
        return json.loads(
            body.decode("utf-8"), parse_constant=constant, parse_float=real, parse_int=integer, object_pairs_hook=mapping
        )
    except UnicodeDecodeError as error:
        raise HttpProblem("malformed_json", f"the body is not UTF-8 (byte {error.start})") from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise HttpProblem("malformed_json", f"the body is no JSON: {error.msg} at {where}") from error


def _check_depth(body: bytes) -> None:
    if body.count(b"[") + body.count(b"{") <= DEPTH:
        return
    depth = 0
    for token in _TOKENS.finditer(body):
        match token[0]:
            case b"[" | b"{":
                depth += 1
                if depth > DEPTH:
                    detail = f"nested deeper than {DEPTH} at byte {token.start()}; at most {DEPTH} levels are read"
                    raise InvalidBody([Invalid(pointer="", detail=detail, code="too_deep")])
            case b"]" | b"}":
                depth -= 1


def _places(value: Any, at: str) -> Iterator[Invalid]:
    if isinstance(value, _JsonFlaw):
        yield Invalid(pointer=at, detail=value.detail, code=value.code)
    elif isinstance(value, str):
        if not _encodable(value):
            yield Invalid(pointer=at, detail="half of a surrogate pair is no character; send the whole pair", code="invalid_text")
    elif isinstance(value, dict):
        for key, item in value.items():
            if _encodable(key):
                yield from _places(item, at + pointer(key))
            else:
                yield Invalid(pointer=at, detail="a key holds half of a surrogate pair", code="invalid_text")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _places(item, f"{at}/{index}")


def _encodable(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)
