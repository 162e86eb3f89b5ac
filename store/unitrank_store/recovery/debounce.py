"""Suspicions that count only when they have lasted."""

import time
from collections.abc import Hashable


class Debounce:
    """Looked at in rounds: what a round does not find again is forgiven."""

    def __init__(self) -> None:
        self._since: dict[Hashable, float] = {}
        self._seen: set[Hashable] = set()

    def lasts(self, suspicion: Hashable, seconds: float) -> bool:
        """Note it in this round; whether it has been found in every round for so many seconds."""
        self._seen.add(suspicion)
        now = time.monotonic()
        return now - self._since.setdefault(suspicion, now) >= seconds

    def end_round(self) -> None:
        """Forgive what was not found."""
        self._since = {suspicion: since for suspicion, since in self._since.items() if suspicion in self._seen}
        self._seen = set()

    def forget(self) -> None:
        """Forgive all: nobody has looked for a while."""
        self._since = {}
        self._seen = set()
