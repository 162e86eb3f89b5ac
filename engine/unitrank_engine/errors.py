"""Errors of the worker.

WorkerError
├── EngineError    the request, the model or the data cannot be computed (carries a code for the client)
└── Cancelled      the job was cancelled, or another attempt has taken its place
"""

from collections.abc import Sequence


class WorkerError(Exception):
    """Anything that ends a job before its result."""


class EngineError(WorkerError):
    """The request, the model or the data cannot be computed.

    `code` is stable; `detail` says what was wrong, what was got and what would be right.
    """

    def __init__(
        self, code: str, detail: str, *, retryable: bool = False, ranking: str | None = None, finished: Sequence[str] = ()
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.retryable = retryable
        self.ranking = ranking
        """The one that failed, where it was one of them."""
        self.finished = tuple(finished)
        """Those whose scores were all there and finite by then."""

    def of(self, ranking: str, finished: Sequence[str]) -> "EngineError":
        """The same error as that of one ranking, with what to do for the others, whose scores are given up with it."""
        advice = f"; ask again without {ranking!r} for {', '.join(map(repr, finished))}" if finished else ""
        detail = f"ranking {ranking!r}: {self.detail}{advice}"
        return EngineError(self.code, detail, retryable=self.retryable, ranking=ranking, finished=finished)


class Cancelled(WorkerError):
    """The job was cancelled, or another attempt has taken its place."""
