"""Logs, traces, counters, and the snapshot that metrics read."""
