"""Parts of messages: an excerpt of the given value, and the accepted names that resemble it."""

import difflib
import json
from collections.abc import Iterable
from typing import Any


def nearest(word: str, choices: Iterable[str], count: int = 3) -> str:
    """`; nearest: 'a', 'b'` with at most `count` choices that look like the word.

    Without a similar choice all choices are named, if there are at most 40.
    """
    choices = list(choices)
    close = difflib.get_close_matches(word[:200], choices, count, 0.5)
    if close:
        return "; nearest: " + ", ".join(map(repr, close))
    if not 0 < len(choices) <= 40:
        return ""
    return ("; use " if len(choices) == 1 else "; use one of ") + ", ".join(map(repr, choices))


def excerpt(value: Any) -> str:
    """The value as JSON, cut to 100 characters."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 100 else text[:97] + "..."


def shape_text(shape: Iterable[int | None]) -> str:
    """A shape with N for the batch: `[N, 1, 28, 28]`."""
    return "[" + ", ".join("N" if size is None else str(size) for size in shape) + "]"
