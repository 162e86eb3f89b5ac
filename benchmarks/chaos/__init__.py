"""Runs jobs while their processes are killed, stopped and paused: `python -m benchmarks.chaos`."""
