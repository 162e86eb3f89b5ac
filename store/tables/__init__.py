"""Tables: named arrays with one row an example, checked from their headers before a byte of data is read."""

from store.tables.inline import encode_inline
from store.tables.shards import Shard, join
from store.tables.table import Table, open_table

__all__ = ["Shard", "Table", "encode_inline", "join", "open_table"]
