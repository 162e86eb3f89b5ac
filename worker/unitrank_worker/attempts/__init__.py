"""Attempts at jobs and inspections, in the worker's parent: what the child is given, and what becomes of its messages."""
