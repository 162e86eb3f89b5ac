"""The index of a dataset in shards: where the rows of each field are in which file.

An index has nothing for each row, so it stays small for any number of rows. Its digest is the
digest of the dataset: it holds the pin of each shard, which changes with the shard's bytes.

    magic line | length of the description (8 bytes) | description (JSON) | footers of Parquet shards
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from unitrank_tables.columns import ColumnInfo
from unitrank_tables.errors import BadTable
from unitrank_tables.sizes import MiB

MAGIC = b"unitrank-shards 1\n"
"""The first bytes of an index. No npz and no safetensors file can begin so."""
INDEX_LIMIT = 256 * MiB
_LENGTH_BYTES = 8


@dataclass(frozen=True)
class ShardEntry:
    """One file of a dataset.

    `uri`: its address. `size`: its bytes. `rows`: its number of rows.
    `pin`: the state of the file (ETag, or size and time of change): another state, other bytes.
    `columns`: for npz and safetensors, field → type in the file and offset of the first row.
    `footer`: for Parquet, the bytes from the start of its footer to the end of the file.
    """

    uri: str
    size: int
    pin: str
    rows: int
    columns: dict[str, tuple[str, int]] = field(default_factory=dict)
    footer: bytes = b""


@dataclass(frozen=True)
class ShardIndex:
    """The shards of a dataset, whose rows follow each other. `fields`: equal in all shards."""

    fields: dict[str, ColumnInfo]
    shards: Sequence[ShardEntry]

    @property
    def rows(self) -> int:
        """The number of rows of all shards."""
        return sum(shard.rows for shard in self.shards)

    @property
    def stored_bytes(self) -> int:
        """The stored bytes of all shards."""
        return sum(shard.size for shard in self.shards)

    def to_bytes(self) -> bytes:
        """The index as a file. Equal indexes give equal bytes.

        Raises BadTable if the file is too long.
        """
        shards = [
            {"uri": shard.uri, "size": shard.size, "pin": shard.pin, "rows": shard.rows}
            | ({"footer": len(shard.footer)} if shard.footer else {"columns": shard.columns})
            for shard in self.shards
        ]
        text = json.dumps({"fields": self.fields, "shards": shards}).encode()
        content = MAGIC + len(text).to_bytes(_LENGTH_BYTES, "little") + text + b"".join(shard.footer for shard in self.shards)
        if len(content) > INDEX_LIMIT:
            detail = (
                f"the index of the shards takes {len(content)} bytes; at most {INDEX_LIMIT} are allowed: write larger row groups"
            )
            raise BadTable("dataset_too_large", detail)
        return content

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """The index in a file that `to_bytes` made."""
        start = len(MAGIC) + _LENGTH_BYTES
        at = start + int.from_bytes(content[len(MAGIC) : start], "little")
        # Any: JSON that this class wrote, and whose digest was verified
        described: Any = json.loads(content[start:at])
        shards = []
        for each in described["shards"]:
            length = each.get("footer", 0)
            columns = {name: (str(descr), int(offset)) for name, (descr, offset) in each.get("columns", {}).items()}
            footer = content[at : at + length]
            shards.append(ShardEntry(each["uri"], each["size"], each["pin"], each["rows"], columns, footer))
            at += length
        return cls(described["fields"], shards)
