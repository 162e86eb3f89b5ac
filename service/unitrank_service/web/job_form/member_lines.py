"""Groups of rows as lines of text: `name: 0-99, 250`, one line for each group."""

import re
from collections.abc import Mapping

ROWS = re.compile(r"(\d{1,15})(?:\s*-\s*(\d{1,15}))?")
MOST_ROWS = 1_000_000
"""Rows that a text may name."""


class BadLines(ValueError):
    """A line is not a group with its rows; the text says which line, and what is accepted."""


def members_of(text: str) -> dict[str, list[int]]:
    """Return the rows of each group. Raises BadLines."""
    members: dict[str, list[int]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        name, colon, rows = line.rpartition(":")
        if not colon or not name.strip():
            raise BadLines(f"line {number} is not NAME: ROWS, such as cats: 0-99, 250")
        if name.strip() in members:
            raise BadLines(f"line {number} has the name {name.strip()!r} again; give each group one line")
        left = MOST_ROWS - sum(map(len, members.values()))
        members[name.strip()] = _rows(rows, number, left)
    return members


def lines_of(members: Mapping[str, list[int]]) -> str:
    """Return the groups as text, with ranges for consecutive rows."""
    return "\n".join(f"{name}: {_ranges(rows)}" for name, rows in members.items())


def _rows(text: str, number: int, most: int) -> list[int]:
    rows: list[int] = []
    for part in filter(None, map(str.strip, text.split(","))):
        match = ROWS.fullmatch(part)
        if match is None:
            raise BadLines(f"line {number} has {part[:40]!r}; give row numbers and ranges of them, such as 0-99, 250")
        first, last = int(match[1]), int(match[2] or match[1])
        if last - first + len(rows) >= most:
            raise BadLines(f"line {number} names too many rows; at most {MOST_ROWS:,} are accepted here")
        rows += range(first, last + 1)
    return rows


def _ranges(rows: list[int]) -> str:
    ranges: list[list[int]] = []
    for row in rows:
        if ranges and row == ranges[-1][1] + 1:
            ranges[-1][1] = row
        else:
            ranges.append([row, row])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)
