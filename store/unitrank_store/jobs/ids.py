"""Ids of records: ULIDs in lower case.

An id has 26 characters of Crockford's base 32, and ids sort by their time of creation.
"""

from ulid import ULID


def new_id() -> str:
    """Return an id of 48 bits of milliseconds and 80 random bits.

    Within a process each id is greater than the previous id.
    """
    return str(ULID()).lower()
