"""Mutators of JSON documents: a value is removed, repeated, moved, replaced or nested too deep."""

import json
from collections.abc import Callable
from copy import deepcopy
from random import Random
from typing import Any

from tests.mutants.raw import NUMBERS

# The keys and indices that lead to a value of a document.
Path = tuple[Any, ...]
# `written` replaces it by 20,000 nested lists, which exceed Python's limit of recursion.
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
    """The paths of all values inside a document."""
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
    """Change one value of the document in place: at the path, or a random one."""
    paths = places(document)
    if not paths:
        return
    path = path or random.choice(paths)
    holder, key = at(document, path[:-1]), path[-1]
    change = random.choice(_CHANGES)
    change(random, holder, key, deepcopy(at(document, random.choice(paths))))


def text(random: Random, content: bytes) -> bytes:
    """The bytes of the document after one to three changes."""
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
        # The structure of inputs and outputs is a JSON document inside a string.
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
