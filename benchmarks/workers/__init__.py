"""Benchmarks of a worker and its child processes."""
