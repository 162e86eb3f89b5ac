"""Strict JSON, as the contract demands.

Rejected, although Python's `json` accepts them: NaN and infinity, numbers that overflow, duplicate
keys, nesting deeper than `DEPTH`, integers longer than `DIGITS`, and unpaired surrogates.
"""

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
"""Digits of the longest integer. Beyond 4300 digits Python raises an error inside the parser."""

_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


@dataclass(frozen=True)
class _JsonFlaw:
    """Replaces an invalid value in the parsed document. `_errors` then finds its JSON Pointer."""

    code: str
    detail: str


def parse(body: bytes) -> Any:
    """Return the document, as `json.loads` does.

    Raises HttpProblem (400) if the body is not JSON.
    Raises InvalidBody (422) if the body breaks a rule of strict JSON.
    """
    _check_depth(body)
    flaws: list[_JsonFlaw] = []
    document = _decode(body, flaws)
    if flaws or _SURROGATE.search(body):
        errors = list(_errors(document, ""))
        if errors:
            raise InvalidBody(errors)
    return document


def _decode(body: bytes, flaws: list[_JsonFlaw]) -> Any:
    def flaw(code: str, detail: str) -> _JsonFlaw:
        flaws.append(_JsonFlaw(code, detail))
        return flaws[-1]

    def constant(text: str) -> _JsonFlaw:
        return flaw("number_not_finite", f"{text} is not a JSON number; use a finite number")

    def real(text: str) -> float | _JsonFlaw:
        value = float(text)
        if math.isfinite(value):
            return value
        return flaw("number_not_finite", f"{text[:40]} overflows a 64-bit float; use a finite number")

    def integer(text: str) -> int | _JsonFlaw:
        if len(text) <= DIGITS:
            return int(text)
        return flaw("number_not_finite", f"the integer has {len(text)} digits; at most {DIGITS} are allowed")

    def mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        fields = dict(pairs)
        if len(fields) < len(pairs):
            earlier: set[str] = set()
            for key, _ in pairs:
                if key in earlier:
                    fields[key] = flaw("duplicate_key", f"the key {key[:100]!r} appears more than once; keep one of them")
                earlier.add(key)
        return fields

    try:
        return json.loads(
            body.decode("utf-8"), parse_constant=constant, parse_float=real, parse_int=integer, object_pairs_hook=mapping
        )
    except UnicodeDecodeError as error:
        detail = f"the body is not UTF-8: byte {error.start} is invalid; send JSON as UTF-8"
        raise HttpProblem("malformed_json", detail) from error
    except json.JSONDecodeError as error:
        position = f"line {error.lineno} column {error.colno}"
        raise HttpProblem("malformed_json", f"the body is not JSON: {error.msg} at {position}") from error


def _check_depth(body: bytes) -> None:
    if body.count(b"[") + body.count(b"{") <= DEPTH:
        return
    depth = 0
    for token in _TOKENS.finditer(body):
        match token[0]:
            case b"[" | b"{":
                depth += 1
                if depth > DEPTH:
                    detail = f"the JSON is nested too deeply at byte {token.start()}; at most {DEPTH} levels are allowed"
                    raise InvalidBody([Invalid(pointer="", detail=detail, code="too_deep")])
            case b"]" | b"}":
                depth -= 1


def _errors(value: Any, at: str) -> Iterator[Invalid]:
    """The errors in `value`, the part of a document at the JSON Pointer `at`."""
    if isinstance(value, _JsonFlaw):
        yield Invalid(pointer=at, detail=value.detail, code=value.code)
    elif isinstance(value, str):
        if not _encodable(value):
            detail = "the text has half of a surrogate pair (such as \\ud83d); send the whole pair"
            yield Invalid(pointer=at, detail=detail, code="invalid_text")
    elif isinstance(value, dict):
        for key, item in value.items():
            if _encodable(key):
                yield from _errors(item, at + pointer(key))
            else:
                detail = "a key has half of a surrogate pair (such as \\ud83d); send the whole pair"
                yield Invalid(pointer=at, detail=detail, code="invalid_text")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _errors(item, f"{at}/{index}")


def _encodable(text: str) -> bool:
    """Whether the text can be encoded as UTF-8: it has no surrogate."""
    return not any("\ud800" <= character <= "\udfff" for character in text)
