"""The table of Redis keys in docs/architecture.md, compared with the keys of a store."""

import re
from pathlib import Path
from typing import NamedTuple

import redis

PAGE = Path(__file__).parents[3] / "docs" / "architecture.md"
ROW = re.compile(
    r"^\| `(?P<pattern>(?:unitrank|rq):[^`]+)` \| (?P<type>\w+) \| .* \| `(?P<writer>[^`]+)` \| [^|]+ \|$", re.MULTILINE
)
LITERAL = re.compile(r"<\w+>")


class KeyRow(NamedTuple):
    """One row of the table.

    `pattern`: the key with its variable parts in angle brackets. `writer`: the file that writes it.
    """

    pattern: str
    type: str
    writer: str

    def matches(self, key: str) -> bool:
        """Whether the key has this form."""
        return re.fullmatch(".+".join(map(re.escape, LITERAL.split(self.pattern))), key) is not None


def key_rows() -> list[KeyRow]:
    """The rows of the table."""
    return [KeyRow(**row.groupdict()) for row in ROW.finditer(PAGE.read_text(encoding="utf-8"))]


def undocumented(connection: redis.Redis) -> list[tuple[str, str]]:
    """The Unitrank keys that match no row of the table, sorted. Each comes with its type.

    RQ's own keys are left out.
    """
    rows = key_rows()
    keys = [(key.decode(), connection.type(key).decode()) for key in connection.scan_iter("unitrank:*", count=1000)]
    return sorted((key, type) for key, type in keys if not any(row.type == type and row.matches(key) for row in rows))
