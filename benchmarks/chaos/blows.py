"""What is done to the processes, and when: a list that a seed decides."""

from dataclasses import dataclass
from random import Random
from typing import Literal

Deed = Literal["kill", "pause", "away"]

TARGETS = ("child", "worker", "service", "store")
# How often each is hit: a child most, as in life.
SHARES: dict[tuple[Deed, str], int] = {
    ("kill", "child"): 6,
    ("kill", "worker"): 4,
    ("kill", "service"): 3,
    ("kill", "store"): 2,
    ("pause", "child"): 2,
    ("pause", "worker"): 3,
    ("pause", "service"): 1,
    ("pause", "store"): 1,
    ("away", "store"): 2,
}
PAUSE_SECONDS = (0.2, 8.0)
AWAY_SECONDS = (1.0, 15.0)


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
        found.append(Blow(after, deed, target, draw.randrange(100), _lasts(draw, deed)))
    return found


def _lasts(draw: Random, deed: Deed) -> float:
    if deed == "kill":
        return 0.0
    return draw.uniform(*(PAUSE_SECONDS if deed == "pause" else AWAY_SECONDS))
