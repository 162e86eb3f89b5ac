"""Decoding of Redis replies to text.

A reply that is not UTF-8 was not written by Unitrank: its bytes become backslash escapes, which no
name of Unitrank contains.

Any: redis-py's types also cover clients that decode replies to text.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any


def text(reply: Any) -> str:
    """Decode a string."""
    return str(reply, "utf-8", "backslashreplace")


def texts(reply: Iterable[Any]) -> Sequence[str]:
    """Decode the strings of a list, a set or a sorted set."""
    return [text(item) for item in reply]


def text_fields(reply: Mapping[Any, Any]) -> dict[str, str]:
    """Decode a hash."""
    return {text(field): text(value) for field, value in reply.items()}


def known_fields(kind: type, stored: Mapping[str, Any]) -> dict[str, Any]:
    """Select the stored fields that a dataclass has.

    A newer version may have stored further fields. The defaults of the dataclass take the place of
    fields that an older version did not store. `kind`: the dataclass.
    """
    return {field.name: stored[field.name] for field in fields(kind) if field.name in stored}
