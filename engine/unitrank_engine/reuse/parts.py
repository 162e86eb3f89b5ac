"""Parts are intermediate results that a job stores under fingerprints, for later jobs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from unitrank_engine.job.context import JobContext
from unitrank_engine.reuse.fingerprints import fingerprint, fingerprint_of_job
from unitrank_tables.part import Part


@runtime_checkable
class PartStore(Protocol):
    """Stores parts by fingerprint. A store may lose any part at any time."""

    def get(self, fingerprints: Sequence[str]) -> dict[str, Part]:
        """Return the parts that the store has, by fingerprint."""

    def put(self, parts: Mapping[str, Part]) -> None:
        """Store parts by fingerprint."""


class NoPartStore:
    """Stores nothing, so that every job computes everything.

    >>> NoPartStore().get(["a fingerprint"])
    {}
    """

    def get(self, fingerprints: Sequence[str]) -> dict[str, Part]:
        return {}

    def put(self, parts: Mapping[str, Part]) -> None:
        return


@dataclass(frozen=True)
class JobParts:
    """The parts that one job reads and writes."""

    store: PartStore
    basis: str
    """Fingerprint of everything that all parts of the job depend on."""
    reused: list[str] = field(default_factory=list)
    """Names of reused results, as the job's result lists them."""

    @classmethod
    def of(cls, store: PartStore, context: JobContext, *, batch: int) -> "JobParts":
        """Make the parts of a job. Call it before the main pass.

        `batch`: rows in one pass through the model.

        Clusters that need the model, and took no pass before this call, came from the store.
        """
        reused = context.request.clusters.reads_model and not context.cost.forward_rows
        return cls(store, fingerprint_of_job(context, batch), ["clusters"] if reused else [])

    def fingerprint(self, kind: str, *depends: object) -> str:
        """Return the fingerprint of a part of this job.

        `depends`: JSON values that the part depends on in addition.
        """
        return fingerprint(self.basis, kind, *depends)

    def find(self, fingerprints: Iterable[str]) -> dict[str, Part]:
        """Return the parts that the store has, by fingerprint."""
        return self.store.get(list(fingerprints))

    def keep(self, parts: Mapping[str, Part]) -> None:
        """Put parts into the store, by fingerprint."""
        if parts:
            self.store.put(parts)


def read_part(part: Part | None, read: Callable[[Part], Any]) -> Any:
    """Return the value that `read` makes of a part; None without a part, and for a damaged one."""
    # Any: the return type of any `read`
    if part is None:
        return None
    try:
        return read(part)
    except (KeyError, ValueError, TypeError, IndexError):
        return None
