"""Words of messages: what was got, cut short, and what would have been near."""

import difflib
import json
from collections.abc import Iterable
from typing import Any


def nearest(word: str, known: Iterable[str], count: int = 3) -> str:
    """`; nearest: 'a', 'b'`, or all known words where none is near and they are few."""
    known = list(known)
    close = difflib.get_close_matches(word[:200], known, count, 0.5)
    if close:
        return "; nearest: " + ", ".join(map(repr, close))
    return "; known: " + ", ".join(map(repr, known)) if 0 < len(known) <= 40 else ""


def shown(value: Any) -> str:
    """The value as JSON, as far as it is, for a message."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 100 else text[:97] + "..."


def shape_shown(shape: Iterable[int | None]) -> str:
    """A shape with N for the batch: `[N, 1, 28, 28]`."""
    return "[" + ", ".join("N" if size is None else str(size) for size in shape) + "]"
