"""Replies of a client that decodes nothing, as text.

Any: redis-py's types also hold the replies of clients that decode. What is no text was written by somebody else: it becomes one
that no name of ours is.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def text(reply: Any) -> str:
    return str(reply, "utf-8", "backslashreplace")


def texts(reply: Iterable[Any]) -> Sequence[str]:
    return [text(each) for each in reply]


def text_fields(reply: Mapping[Any, Any]) -> dict[str, str]:
    """A hash."""
    return {text(field): text(value) for field, value in reply.items()}
