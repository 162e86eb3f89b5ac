"""What is done to the processes, and when: a list that a seed decides."""

from dataclasses import dataclass
from random import Random
from typing import Literal

Deed = Literal["kill", "stop", "pause", "away"]

TARGETS = ("child", "worker", "service", "store", "inspector")
# How often each is hit: a child most, as in life. "stop" is SIGTERM, and a second one to who is not gone by then.
SHARES: dict[tuple[Deed, str], int] = {
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
# RQ takes two signals within a second for one.
LASTS: dict[Deed, tuple[float, float]] = {"kill": (0.0, 0.0), "stop": (1.2, 5.0), "pause": (0.2, 8.0), "away": (1.0, 15.0)}


@dataclass(frozen=True)
class Blow:
    """After so many seconds do this to the target; `which` chooses among several, `lasts` is in seconds."""

    after: float
    deed: Deed
    target: str
    which: int
    lasts: float

    def __str__(self) -> str:
        return f"{self.deed} {self.target}" + (f" for {self.lasts:.1f} s" if self.lasts else "")


def blows(seed: int, seconds: float, every: float) -> list[Blow]:
    """Blows for so many seconds, `every` so many seconds on average, each kind at least once where there are enough."""
    draw = Random(f"blows {seed}")
    kinds = list(SHARES)
    first = draw.sample(kinds, len(kinds))
    found: list[Blow] = []
    while (after := draw.uniform(0, 2 * every)) < seconds:
        seconds -= after
        deed, target = first.pop() if first else draw.choices(kinds, list(SHARES.values()))[0]
        found.append(Blow(after, deed, target, draw.randrange(100), draw.uniform(*LASTS[deed])))
    return found
