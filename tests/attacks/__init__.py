"""Hostile files that a client may send instead of a model or a table; each test makes its own."""
