"""The schemas of the HTTP contract, and the checks of a request that need only these schemas."""
