"""Access to Redis: connections, key names, decoding, scripts, leases, and the embedded server."""
