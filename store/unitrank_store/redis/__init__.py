"""The connection to Redis: keys, decoding, leases, and the embedded server."""
