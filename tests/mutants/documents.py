"""What can go wrong in a JSON document: one value is missing, doubled, elsewhere, another, or too deep."""

import json
from collections.abc import Callable
from copy import deepcopy
from random import Random
from typing import Any

from tests.mutants.raw import NUMBERS

# The paths of JSON values; documents are whatever JSON holds.
Path = tuple[Any, ...]
# Written as lists in lists, deeper than Python's own stack.
_DEEP = "deep"

JUNK: list[Any] = [
    None,
    True,
    False,
    -1,
    1 << 70,
    1.5,
    float("nan"),
    float("inf"),
    "",
    "x'y",
    "../..",
    "__class__",
    "\ud800",
    "s77",
    "x" * 5000,
    _DEEP,
    [],
    {},
    [[]],
    {"": 0},
    {"as_int": 1},
    {"as_none": True},
    {"as_name": "x"},
    {"as_tensor": {"name": "x"}},
    {"as_expr": {"expr_str": "1"}},
    *NUMBERS,
]


def places(document: Any, path: Path = ()) -> list[Path]:
    """The paths of every value in a document but the whole."""
    keys = document if isinstance(document, dict) else range(len(document)) if isinstance(document, list) else ()
    return [path] * bool(path) + [place for key in keys for place in places(document[key], (*path, key))]


def at(document: Any, path: Path) -> Any:
    for step in path:
        document = document[step]
    return document


def named(document: Any, *keys: str) -> list[Path]:
    """The paths that end with these keys."""
    return [path for path in places(document) if path[-len(keys) :] == keys]


def change(random: Random, document: Any, path: Path | None = None) -> None:
    """One value of the document, at the path or anywhere."""
    found = places(document)
    if not found:
        return
    path = path or random.choice(found)
    holder, key = at(document, path[:-1]), path[-1]
    change = random.choice(_CHANGES)
    change(random, holder, key, deepcopy(at(document, random.choice(found))))


def text(random: Random, content: bytes) -> bytes:
    """A document as bytes with one to three changes."""
    document = json.loads(content)
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        change(random, document)
    return written(document)


def written(document: Any) -> bytes:
    return json.dumps(document).replace(f'"{_DEEP}"', "[" * 20_000 + "]" * 20_000).encode()


def _missing(random: Random, holder: Any, key: Any, other: Any) -> None:
    del holder[key]


def _junk(random: Random, holder: Any, key: Any, other: Any) -> None:
    holder[key] = deepcopy(random.choice(JUNK))


def _exchanged(random: Random, holder: Any, key: Any, other: Any) -> None:
    holder[key] = other


def _doubled(random: Random, holder: Any, key: Any, other: Any) -> None:
    if isinstance(holder, list):
        holder[key:key] = [deepcopy(holder[key])] * random.choice([1, 2, 70])
    else:
        holder[random.choice([*holder, f"{key}_", "x.y", ""])] = deepcopy(holder[key])


def _renamed(random: Random, holder: Any, key: Any, other: Any) -> None:
    if isinstance(holder, dict):
        name = other if isinstance(other, str) else random.choice(["", "__class__", "x y", "import", f"{key}é"])
        holder[name] = holder.pop(key)


def _deeper(random: Random, holder: Any, key: Any, other: Any) -> None:
    for _ in range(random.choice([1, 2, 40])):
        holder[key] = random.choice([[holder[key]], {"as_expr": holder[key]}])


def _nudged(random: Random, holder: Any, key: Any, other: Any) -> None:
    value = holder[key]
    if isinstance(value, bool):
        holder[key] = not value
    elif isinstance(value, int):
        holder[key] = random.choice([value + 1, value - 1, -value, value * 1000, *NUMBERS])
    elif isinstance(value, str):
        holder[key] = _other_text(random, value)
    else:
        _exchanged(random, holder, key, other)


def _other_text(random: Random, value: str) -> str:
    if value[:1] in ("[", "{"):
        # Nestings of inputs and outputs are documents inside a string.
        try:
            return text(random, value.encode()).decode()
        except ValueError:
            pass
    begin = random.randint(0, len(value))
    end = random.randint(begin, len(value))
    return value[:begin] + random.choice(["", value[begin:end] * 2, "(", "\0", "é", " ", "\n", ".", "0", "__", "'"]) + value[end:]


_CHANGES: list[Callable[[Random, Any, Any, Any], None]] = [
    _missing,
    _junk,
    _exchanged,
    _doubled,
    _renamed,
    _deeper,
    _nudged,
    _nudged,
]
