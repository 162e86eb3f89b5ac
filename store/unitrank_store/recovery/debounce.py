"""Findings that count only when they have lasted."""

from collections.abc import Callable, Hashable


class Debounce:
    """Findings of rounds: a finding that a round does not repeat is forgotten. `clock`: seconds, such as time.monotonic."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since: dict[Hashable, float] = {}
        self._seen: set[Hashable] = set()

    def lasts(self, finding: Hashable, seconds: float) -> bool:
        """Note the finding in this round; return whether every round has noted it for that many seconds."""
        self._seen.add(finding)
        now = self._clock()
        return now - self._since.setdefault(finding, now) >= seconds

    def end_round(self) -> None:
        """Forget the findings that this round did not repeat."""
        self._since = {finding: since for finding, since in self._since.items() if finding in self._seen}
        self._seen = set()

    def forget(self) -> None:
        """Forget all findings: no process has looked for a while."""
        self._since = {}
        self._seen = set()
