"""The nodes that compute ranges, as a division sees them. They need not be those of Ray."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from unitrank_worker.distributed.questions import Answer
from unitrank_worker.distributed.replica import JobHead, Outcome, Step

Kept = Any
"""An answer as the nodes get it. Any: Ray's reference to an object."""


@dataclass(frozen=True)
class Done:
    """A range that a node has ended.

    `key`: of the job. `place`: the address of the node's machine.
    `outcome`: None if the node was lost.
    `is_first`: whether the range was the one that the node computed, and not one that waited.
    """

    key: str
    place: str
    index: int
    outcome: Outcome | None
    is_first: bool = True


class Nodes(Protocol):
    """The nodes that compute ranges."""

    def free(self) -> Sequence[str]:
        """The nodes that can take another range, the least busy ones first."""
        ...

    @property
    def count(self) -> int:
        """The number of nodes that can compute."""
        ...

    @property
    def busy(self) -> bool:
        """Whether a node has a range that has not ended."""
        ...

    def keep(self, answer: Answer) -> Kept:
        """Make the answer available to all nodes."""
        ...

    def submit(self, node: str, head: JobHead, step: Step, index: int, answers: Sequence[Kept]) -> None:
        """Give a node a range. `answers`: of all earlier questions of the job."""
        ...

    def wait(self, seconds: float) -> Sequence[Done]:
        """The ranges that have ended, after at most `seconds`."""
        ...

    def leave_out(self, place: str) -> None:
        """Give the machine no further ranges of this job."""
        ...

    def stop(self, key: str) -> None:
        """Stop the job on all nodes. Does not wait."""
        ...
