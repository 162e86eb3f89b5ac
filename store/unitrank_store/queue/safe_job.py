"""RQ's job, restricted to the functions of `FUNCTIONS` with one id as their argument.

RQ's own serializer unpickles the entry, and RQ's jobs may name any function of any module. With
either, a process that can write to the store could run code in the workers. A `SafeJob` is JSON. It
holds the name of a function, which is only compared and never imported. A `SafeJob` ignores RQ's
callbacks, webhooks, dependencies and retries.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn, cast

import redis
from rq.exceptions import DeserializationError, NoSuchJobError
from rq.job import Job

from unitrank_store.errors import Forged
from unitrank_store.jobs.record import JobRecord
from unitrank_store.unavailable import unavailable_reason

FUNCTIONS = {"job": "run_job", "inspection": "inspect_model"}
"""The name of the function in the queue, for each kind of record."""
OLD_FUNCTIONS = ("worker.tasks.run_job", "worker.tasks.inspect_model")
"""Names that the version before this one wrote. The next version will not read them."""


class SafeJob(Job):
    """An entry of RQ's queue: the name of a function in `FUNCTIONS`, and one id as its argument.

    `record`: the job's record when the worker took the entry; None if it was not read.
    """

    record: JobRecord | None = None

    @property
    def func(self) -> NoReturn:
        """Raises NotImplementedError: RQ would import the function that the queue names."""
        raise NotImplementedError("a worker calls no function that the queue names; read `record_id` instead")

    @property
    def record_id(self) -> str:
        """The id of the record to run: the entry's only argument.

        Raises Forged for a malformed entry.
        """
        try:
            name, instance, arguments, keywords = str(self.func_name), self.instance, self.args, self.kwargs
        except DeserializationError as error:
            raise Forged("the queue holds an entry that is not JSON") from error
        if name not in (*FUNCTIONS.values(), *OLD_FUNCTIONS) or instance is not None or keywords:
            raise Forged(f"the queue's entry calls {name!r}; a worker runs only {' and '.join(FUNCTIONS.values())}")
        if len(arguments) != 1 or not isinstance(arguments[0], str):
            raise Forged(f"the queue's entry passes {len(arguments)} arguments to {name}; expected one id")
        return arguments[0]

    @property
    def attempt(self) -> int:
        """The number of the attempt that this entry starts.

        Raises Forged for a malformed transport id.
        """
        earlier = self.id.removeprefix(f"{self.record_id}-")
        if not earlier.isdecimal():
            raise Forged(f"the queue's entry for {self.record_id} has the id {self.id!r}; expected '{self.record_id}-N'")
        return int(earlier) + 1

    @classmethod
    def fetch(cls, id: str, connection: redis.Redis | None = None, serializer: Any = None) -> "SafeJob":  # Any: as RQ declares it
        """Read and return the entry with this id.

        Raises NoSuchJobError if it does not exist, and also if it is malformed: RQ then continues
        with the next entry.
        """
        with _as_missing(id):
            return cast("SafeJob", super().fetch(id, connection=connection, serializer=serializer))

    @classmethod
    def of(cls, id: str, entry: Mapping[bytes, bytes] | Exception, connection: redis.Redis, serializer: Any) -> "SafeJob":
        """Return the entry with this id from the reply of HGETALL. Raises as `fetch`.

        Any: as RQ declares it.
        """
        with _as_missing(id):
            if isinstance(entry, Exception):
                raise entry
            if not entry:
                raise NoSuchJobError(f"the queue has no entry {id[:64]!r}")
            job = cls(id, connection=connection, serializer=serializer)
            job.restore(entry)
        return job

    def restore(self, raw_data: Any) -> Any:  # Any: as RQ declares it
        """Read the stored entry, but drop every part by which RQ would call another function."""
        result = super().restore(raw_data)
        self._success_callback_name = self._failure_callback_name = self._stopped_callback_name = None
        self.webhooks = []
        self._dependency_ids = []
        self.retries_left = self.repeats_left = None
        return result


@contextmanager
def _as_missing(id: str) -> Iterator[None]:
    """Raise NoSuchJobError in place of every error but that of a store that cannot serve.

    RQ parses text, compressed data and times of the entry, and each may raise another error. A
    forged entry must not stop a worker.
    """
    try:
        yield
    except NoSuchJobError:
        raise
    except Exception as error:
        if unavailable_reason(error):
            raise
        raise NoSuchJobError(f"the queue's entry {id[:64]!r} is not a valid job") from error
