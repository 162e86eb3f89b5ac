"""Errors of the worker.

WorkerError
├── EngineError    the request, the model or the data cannot be computed (carries a code for the client)
└── Cancelled      the job was cancelled, or another attempt has taken its place
"""


class WorkerError(Exception):
    """Anything that ends a job before its result."""


class EngineError(WorkerError):
    """The request, the model or the data cannot be computed.

    `code` is stable; `detail` says what was wrong, what was got and what would be right.
    """

    def __init__(self, code: str, detail: str, *, retryable: bool = False) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.retryable = retryable


class Cancelled(WorkerError):
    """The job was cancelled, or another attempt has taken its place."""
