"""RQ's timeouts without SIGALRM, which does not reach native code."""

from rq.timeouts import BaseDeathPenalty


class NoAlarm(BaseDeathPenalty):
    """Lets everything take its time: the worker's parent watches the clock, and has SIGKILL."""

    def setup_death_penalty(self) -> None:
        """Nothing."""

    def cancel_death_penalty(self) -> None:
        """Nothing."""
