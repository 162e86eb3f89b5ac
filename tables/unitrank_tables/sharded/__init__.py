"""Tables whose rows stay in their files (shards): an index, and reads of single byte ranges."""
