"""Errors of the store.

StoreError
├── RecordNotFound             the store has no record with this name or id
├── StateConflict              the record's state does not allow the change
│   ├── Taken                  another process changed the key first; read again and retry
│   └── IdempotencyKeyReused   an earlier request had the same key and another body
├── Full                       the server's memory, a disk or the quota has no room
├── Unavailable                the lock on contents was not free in time
├── SizeExceeded               the content is larger than the operator allows
├── Corrupt                    the stored bytes are incomplete, or have another digest
├── EmbeddedServerFailed       the embedded server did not start
├── UnsupportedStore           the server is a cluster, a Sentinel or too old
├── BadSource                  the URI is not allowed or cannot be read
│   └── ShardChanged           a file that is read in place is not the file that was imported
└── Forged                     the queue holds an entry that no Unitrank process wrote
"""


class StoreError(Exception):
    """The store rejects a request or cannot serve it: base class of all errors here."""


class RecordNotFound(StoreError):
    """The store has no record with this name or id."""


class StateConflict(StoreError):
    """The record's state does not allow the change."""


class Taken(StateConflict):
    """Another process changed the key first: read the store again, then retry."""


class IdempotencyKeyReused(StateConflict):
    """An earlier request had the same idempotency key and another body.

    `job`: the id of the job that the earlier request created.
    """

    def __init__(self, job: str) -> None:
        super().__init__(
            f"this idempotency key was already used with another body, which created the job {job}; use a new key for a new request"
        )
        self.job = job


class Full(StoreError):
    """The server's memory, a disk or the quota has no room; the request may succeed later."""


class Unavailable(StoreError):
    """The lock on contents was not free in time; the same request may succeed later."""


class SizeExceeded(StoreError):
    """The content is larger than the operator allows."""


class Corrupt(StoreError):
    """The stored bytes are incomplete, or do not have the digest that they are stored under."""


class EmbeddedServerFailed(StoreError):
    """The embedded server did not start."""


class UnsupportedStore(StoreError):
    """The server is a node of a cluster, a Sentinel, or older than the oldest accepted version."""


class BadSource(StoreError):
    """The URI is not allowed or cannot be read.

    `code`: the problem's code, which is stable. `detail`: the reason, and an accepted form.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class ShardChanged(BadSource):
    """A file that is read in place is not the file that was imported."""


class Forged(StoreError):
    """The queue holds an entry that no Unitrank process wrote."""
