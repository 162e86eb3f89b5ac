"""RQ's job, restricted to the functions of `FUNCTIONS` with one id as argument.

RQ's own serializer unpickles the entry, and its jobs name any function of any module: with either, a process that can
write to the store runs code in the workers. A `SafeJob` is JSON. It holds the name of a function, which nothing imports,
and none of RQ's callbacks, webhooks, dependencies and retries.
"""

from typing import Any, NoReturn, cast

import redis
from rq.exceptions import DeserializationError, NoSuchJobError
from rq.job import Job

from unitrank_store.errors import Forged

# By the record's kind, the name that the queue holds.
FUNCTIONS = {"job": "run_job", "inspection": "inspect_model"}
# The names that the version before this one wrote; the next version no longer reads them.
OLD_FUNCTIONS = ("worker.tasks.run_job", "worker.tasks.inspect_model")


class SafeJob(Job):
    """RQ's job, restricted to the functions above with one id as argument."""

    @property
    def func(self) -> NoReturn:
        """Raises NotImplementedError: RQ would import the function that the queue names."""
        raise NotImplementedError("a worker reads `record_id` and runs the record itself")

    @property
    def record_id(self) -> str:
        """The one argument of a function of `FUNCTIONS`. Raises Forged."""
        try:
            name, instance, arguments, keywords = str(self.func_name), self.instance, self.args, self.kwargs
        except DeserializationError as error:
            raise Forged("the queue holds an entry that is not JSON") from error
        if name not in (*FUNCTIONS.values(), *OLD_FUNCTIONS) or instance is not None or keywords:
            raise Forged(f"the queue asked for {name!r}; a worker runs {' and '.join(FUNCTIONS.values())}")
        if len(arguments) != 1 or not isinstance(arguments[0], str):
            raise Forged(f"{name} takes one id, the queue gave {len(arguments)} arguments")
        return arguments[0]

    @property
    def attempt(self) -> int:
        """The number that the record's run has, or will have once it starts. Raises Forged."""
        before = self.id.removeprefix(f"{self.record_id}-")
        if not before.isdecimal():
            raise Forged(f"the queue holds a run of {self.record_id} under the id {self.id!r}, which no `push` gave it")
        return int(before) + 1

    @classmethod
    def fetch(cls, id: str, connection: redis.Redis | None = None, serializer: Any = None) -> "SafeJob":  # Any: as RQ declares it
        """RQ's job. Raises NoSuchJobError also for an entry that no `push` wrote: the reader then goes on with the next."""
        try:
            return cast("SafeJob", super().fetch(id, connection=connection, serializer=serializer))
        except (NoSuchJobError, redis.exceptions.ConnectionError, redis.exceptions.TimeoutError):
            raise
        except Exception as error:
            # RQ decodes, unpacks and reads times: a forged entry must not stop a worker.
            raise NoSuchJobError(f"the queue's entry {id[:64]!r} is not a job") from error

    def restore(self, raw_data: Any) -> Any:  # as RQ declares it
        """Read the stored entry, and leave out every part that would call another function."""
        result = super().restore(raw_data)
        self._success_callback_name = self._failure_callback_name = self._stopped_callback_name = None
        self.webhooks = []
        self._dependency_ids = []
        self.retries_left = self.repeats_left = None
        return result
