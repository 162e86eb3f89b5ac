"""Attempts at jobs and inspections: the order to the child, and the child's messages."""
