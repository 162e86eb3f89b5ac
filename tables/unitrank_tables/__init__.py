"""Tables: named arrays with one row for each example.

The headers are checked before any data is read.
"""

from unitrank_tables.chunk_digests import ChunkDigests, VerifiedChunks
from unitrank_tables.inline import encode_inline
from unitrank_tables.shards import Shard, join
from unitrank_tables.table import Table, open_table

__all__ = ["ChunkDigests", "Shard", "Table", "VerifiedChunks", "encode_inline", "join", "open_table"]
