"""Repairs of the store: the reaper of lost jobs, garbage collection, and corrupt keys."""
