"""Parts: results that a job left under a fingerprint, for later jobs that would compute the same."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from unitrank_engine.job.context import JobContext
from unitrank_engine.reuse.fingerprints import fingerprint, fingerprint_of_job
from unitrank_tables.part import Part


@runtime_checkable
class PartStore(Protocol):
    """Holds parts by fingerprint; may lose any of them."""

    def get(self, fingerprints: Sequence[str]) -> dict[str, Part]: ...

    def put(self, parts: Mapping[str, Part]) -> None: ...


class NoPartStore:
    """Holds nothing: every job computes everything."""

    def get(self, fingerprints: Sequence[str]) -> dict[str, Part]:
        return {}

    def put(self, parts: Mapping[str, Part]) -> None:
        return


@dataclass(frozen=True)
class JobParts:
    """The parts that one job reads and writes."""

    store: PartStore
    basis: str
    """The fingerprint of what all parts of the job depend on."""
    reused: list[str] = field(default_factory=list)
    """Names of what was not computed again, as the result lists them."""

    @classmethod
    def of(cls, store: PartStore, context: JobContext, *, batch: int) -> "JobParts":
        """Call this before the job's first pass: clusters that took no pass were found in the store."""
        reused = context.request.clusters.reads_model and not context.cost.forward_rows
        return cls(store, fingerprint_of_job(context, batch), ["clusters"] if reused else [])

    def fingerprint(self, kind: str, *depends: object) -> str:
        return fingerprint(self.basis, kind, *depends)

    def find(self, fingerprints: Iterable[str]) -> dict[str, Part]:
        """The parts that the store has."""
        return self.store.get(list(fingerprints))

    def keep(self, parts: Mapping[str, Part]) -> None:
        if parts:
            self.store.put(parts)


def read_part(part: Part | None, read: Callable[[Part], Any]) -> Any:
    """The value that `read` makes of a part; None where there is no part, or where it is damaged."""
    # Any: the value of any reader
    if part is None:
        return None
    try:
        return read(part)
    except (KeyError, ValueError, TypeError, IndexError):
        return None
