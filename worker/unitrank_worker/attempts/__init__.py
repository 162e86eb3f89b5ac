"""Attempts at jobs and inspections in the parent: the child's order, and its messages."""
