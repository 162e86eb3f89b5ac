"""RQ's timeouts without SIGALRM, which does not reach native code."""

from rq.timeouts import BaseDeathPenalty


class NoAlarm(BaseDeathPenalty):
    """Sets no timeout: the worker checks the time of a job, and kills its child with SIGKILL."""

    def setup_death_penalty(self) -> None:
        """Do nothing."""

    def cancel_death_penalty(self) -> None:
        """Do nothing."""
