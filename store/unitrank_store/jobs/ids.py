"""Ids of records: ULIDs in lower case, 26 characters of Crockford's base 32 that sort by time."""

from ulid import ULID


def new_id() -> str:
    """48 bits of milliseconds and 80 random bits; within a process each id is greater than the one before."""
    return str(ULID()).lower()
