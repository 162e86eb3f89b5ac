"""Jobs while the processes that run them are killed, stopped and cut off from each other: `python -m benchmarks.chaos`."""
