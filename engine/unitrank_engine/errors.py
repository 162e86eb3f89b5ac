"""Errors that end a job.

WorkerError
├── EngineError    the request, the model or the data cannot be computed; has a code for the client
└── Cancelled      the job was cancelled, or another attempt has taken its place
"""

from collections.abc import Sequence

from unitrank_schemas.methods import entry_id


class WorkerError(Exception):
    """The base of the errors that end a job before its result."""


class EngineError(WorkerError):
    """The request, the model or the data cannot be computed.

    `code`: a stable word for programs.
    `detail`: a message for people: the error, the value that was given, and what is accepted.
    `retryable`: whether the same request can succeed later.
    `ranking`: id of the ranking that failed; None where the error is not of a single ranking.
    `finished`: ids of the rankings whose scores were complete and finite when the error was raised.

    >>> error = EngineError("non_finite", "a score became NaN")
    >>> print(error.for_ranking("deeplift", finished=["gradient"]))
    ranking 'deeplift': a score became NaN; repeat the request without 'deeplift' to get 'gradient'
    """

    def __init__(
        self, code: str, detail: str, *, retryable: bool = False, ranking: str | None = None, finished: Sequence[str] = ()
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.retryable = retryable
        self.ranking = ranking
        self.finished = tuple(finished)

    def for_ranking(self, ranking: str, finished: Sequence[str]) -> "EngineError":
        """Return the same error for one ranking, with advice on how to get the finished rankings.

        One failed ranking ends the whole job, so the finished scores are lost as well. A ranking of
        one class has the id `<entry>@<class>`, and a request names the entry.
        """
        entry, others = entry_id(ranking), dict.fromkeys(map(entry_id, finished))
        others.pop(entry, None)
        advice = f"; repeat the request without {entry!r} to get {', '.join(map(repr, others))}" if others else ""
        detail = f"ranking {ranking!r}: {self.detail}{advice}"
        return EngineError(self.code, detail, retryable=self.retryable, ranking=ranking, finished=finished)


class Cancelled(WorkerError):
    """The job was cancelled, or another attempt has taken its place."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether Python or torch raised the error because memory ran out.

    The error says nothing about the archive then, and the same request can succeed elsewhere.
    """
    # torch.OutOfMemoryError is recognised by its name, because the parent does not import torch.
    by_class = isinstance(error, MemoryError) or "OutOfMemoryError" in {kind.__name__ for kind in type(error).__mro__}
    return by_class or "DefaultCPUAllocator: can't allocate memory" in str(error)
