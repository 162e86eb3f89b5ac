"""Errors of a job that is divided between nodes.

NotDivided      no node can compute ranges, before the job has begun
RangeFailed     a range could not be computed; ends the job
Differs         a replica does other work than the owner
Stopped         the job was stopped while a replica worked
ReplicaEnded    a replica's job ended before it computed the range
"""

from unitrank_schemas.base import Json

EQUAL_NODES = "install the same versions of Unitrank and torch on all nodes"
"""The advice if nodes differ."""


class NotDivided(Exception):
    """Raised if no node can compute ranges, for example because no Ray answers at the address."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class RangeFailed(Exception):
    """Raised if a range could not be computed. `problem`: the problem for the job's record."""

    def __init__(self, problem: Json) -> None:
        super().__init__(problem["detail"])
        self.problem = problem


class Differs(Exception):
    """Raised if a replica asks another question than the owner: their versions differ."""


class Stopped(Exception):
    """Raised if the job was stopped while a replica worked."""


class ReplicaEnded(Exception):
    """Raised if a replica's job ended before it computed the range.

    `problem`: the reason; None if the job ended without one. `leaves`: whether the child ends too.
    """

    def __init__(self, problem: Json | None, *, leaves: bool) -> None:
        super().__init__(str(problem))
        self.problem = problem
        self.leaves = leaves
