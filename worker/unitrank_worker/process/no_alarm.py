"""RQ's timeouts without SIGALRM, which does not reach native code."""

from rq.timeouts import BaseDeathPenalty


class NoAlarm(BaseDeathPenalty):
    """Sets no timeout: the worker's parent watches the time of a job, and ends its child with SIGKILL."""

    def setup_death_penalty(self) -> None:
        """Nothing."""

    def cancel_death_penalty(self) -> None:
        """Nothing."""
