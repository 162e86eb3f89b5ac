"""The faults of a run and their times. A seed decides the list."""

from dataclasses import dataclass
from random import Random
from typing import Literal

Action = Literal["kill", "stop", "pause", "away"]
"""`kill`: SIGKILL. `stop`: SIGTERM, twice if needed. `pause`: SIGSTOP, then SIGCONT.

`away`: SIGKILL of the store, which is restarted only after the fault's duration.
"""

# Relative frequency of each fault: children fail most, as in practice.
SHARES: dict[tuple[Action, str], int] = {
    ("kill", "child"): 6,
    ("kill", "worker"): 4,
    ("kill", "service"): 3,
    ("kill", "store"): 2,
    ("kill", "inspector"): 2,
    ("stop", "worker"): 3,
    ("stop", "service"): 1,
    ("stop", "inspector"): 1,
    ("pause", "child"): 2,
    ("pause", "worker"): 3,
    ("pause", "service"): 1,
    ("pause", "store"): 1,
    ("away", "store"): 2,
}
# Further faults if jobs are divided between the machines of a Ray cluster.
NODE_SHARES: dict[tuple[Action, str], int] = {("kill", "machine"): 3, ("kill", "actor"): 3, ("kill", "replica"): 4}
NODE_TARGETS = [target for _, target in NODE_SHARES]
# The shortest and longest duration in seconds. For "stop" it is the time to the second SIGTERM: RQ
# ignores a second signal within 1 s.
DURATIONS: dict[Action, tuple[float, float]] = {"kill": (0.0, 0.0), "stop": (1.2, 5.0), "pause": (0.2, 8.0), "away": (1.0, 15.0)}


@dataclass(frozen=True)
class Fault:
    """A fault of one process.

    `after`: seconds since the previous fault. `which`: a number that selects one of several
    processes. `duration`: seconds until the process is resumed, restarted or stopped again.
    """

    after: float
    action: Action
    target: str
    which: int
    duration: float

    def __str__(self) -> str:
        return f"{self.action} {self.target}" + (f" for {self.duration:.1f} s" if self.duration else "")


def faults(seed: int, seconds: float, every: float, *, with_nodes: bool = False) -> list[Fault]:
    """The faults of a run of `seconds`. A fault follows every `every` seconds on average.

    `with_nodes`: faults of a Ray cluster, too.
    The first faults are of different kinds, so that a long run has each kind at least once.
    """
    # The text is part of the seed. With another text the faults of earlier runs would change.
    random = Random(f"blows {seed}")
    shares = SHARES | (NODE_SHARES if with_nodes else {})
    kinds = list(shares)
    first_kinds = random.sample(kinds, len(kinds))
    plan: list[Fault] = []
    while (after := random.uniform(0, 2 * every)) < seconds:
        seconds -= after
        action, target = first_kinds.pop() if first_kinds else random.choices(kinds, list(shares.values()))[0]
        plan.append(Fault(after, action, target, random.randrange(100), random.uniform(*DURATIONS[action])))
    return plan
