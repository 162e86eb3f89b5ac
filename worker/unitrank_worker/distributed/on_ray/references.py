"""The head of a job, and references to its answers in Ray's object store, for the actors."""

import pickle
from collections.abc import Sequence
from typing import Any, NamedTuple

from unitrank_worker.distributed.nodes import Kept
from unitrank_worker.distributed.replica import JobHead

INLINE_BYTES = 16 * 1024
"""Bytes of a head that a call carries itself, at most. A reference costs Ray some messages."""


class References(NamedTuple):
    """A job and its answers. Any: Ray's references.

    `head`: the job's head, or a reference to it; None if the actor has the head.
    `number`: of answers. `latest`: to the last answer; None before the first one.
    `log`: to the list of all references to answers; None for fewer than two answers.
    """

    head: Any
    number: int
    latest: Any
    log: Any


NOTHING = References(None, 0, None, None)


class JobReferences:
    """The references of the job that runs. Each object is put into Ray's store once."""

    def __init__(self) -> None:
        self._of_job = ""
        self._references = NOTHING

    def of(self, head: JobHead, answers: Sequence[Kept], *, has_head: bool) -> References:
        """The references that an actor needs before the first range after these answers.

        `has_head`: whether the actor has the head of this job.
        """
        import ray

        if self._of_job != head.key:
            is_small = len(pickle.dumps(head)) <= INLINE_BYTES
            self._of_job, self._references = head.key, References(head if is_small else ray.put(head), 0, None, None)
        if self._references.number != len(answers):
            log = ray.put(list(answers)) if len(answers) > 1 else None
            self._references = References(self._references.head, len(answers), answers[-1], log)
        return self._references._replace(head=None) if has_head else self._references

    def forget(self) -> None:
        """Let Ray delete the objects of the job."""
        self._of_job, self._references = "", NOTHING
