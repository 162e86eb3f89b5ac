"""Repairs of the store: lost jobs, garbage, corrupt keys."""
