"""Debounce: a finding counts only after it has lasted for some time."""

from collections.abc import Callable, Hashable


class Debounce:
    """The findings of regular rounds. A finding that a round does not note again is forgotten.

    `clock`: returns seconds, such as time.monotonic.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since: dict[Hashable, float] = {}
        self._this_round: set[Hashable] = set()

    def lasts(self, finding: Hashable, seconds: float) -> bool:
        """Note a finding; return whether every round of the last `seconds` has noted it."""
        self._this_round.add(finding)
        now = self._clock()
        return now - self._since.setdefault(finding, now) >= seconds

    def end_round(self) -> None:
        """Forget the findings that this round has not noted."""
        self._since = {finding: since for finding, since in self._since.items() if finding in self._this_round}
        self._this_round = set()

    def forget(self) -> None:
        """Forget all findings, because the rounds were interrupted."""
        self._since = {}
        self._this_round = set()
