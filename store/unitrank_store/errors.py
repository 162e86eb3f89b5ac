"""Errors of the store.

StoreError
├── RecordNotFound             no record under that name or id
├── StateConflict              the state the record is in does not allow this
│   ├── Taken                  somebody else was faster, the same may be tried again
│   └── IdempotencyKeyReused   the key came with another body before (carries the job's id)
├── Full                       no room: the server's memory or the queue's limit is reached
├── Unavailable                the server does not answer
├── SizeExceeded               more bytes than the operator allows
├── Corrupt                    what is stored is not what its digest promises
├── EmbeddedServerFailed       the embedded server cannot be started
├── BadSource                  a URI that may not or cannot be read (carries a code)
└── Forged                     the queue holds an entry that no `push` wrote
"""


class StoreError(Exception):
    """Anything that the store refuses or cannot do."""


class RecordNotFound(StoreError):
    """No record under that name or id."""


class StateConflict(StoreError):
    """The state the record is in does not allow this."""


class Taken(StateConflict):
    """Somebody else was faster; to look again, and to try again, is right."""


class IdempotencyKeyReused(StateConflict):
    """The idempotency key came with another body before; `job` is the id of the job that it made."""

    def __init__(self, job: str) -> None:
        super().__init__(f"this idempotency key came with another body, for the job {job}; use a new key for a new request")
        self.job = job


class Full(StoreError):
    """The server's memory or the queue's limit is reached; the same request may pass later."""


class Unavailable(StoreError):
    """The server does not answer."""


class SizeExceeded(StoreError):
    """More bytes than the operator allows."""


class Corrupt(StoreError):
    """What is stored is not what its digest promises."""


class EmbeddedServerFailed(StoreError):
    """The embedded server cannot be started here."""


class BadSource(StoreError):
    """A URI that may not or cannot be read; `code` is stable, the message says what would be right."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class Forged(StoreError):
    """The queue holds an entry that no `push` wrote."""
