"""Loops that run in threads beside the requests."""
