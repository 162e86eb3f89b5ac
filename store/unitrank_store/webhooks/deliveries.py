"""Deliveries: whom to tell that a job has ended, what came of each attempt, and which ones are due.

A delivery lies beside its job's record and goes with it. The change that ends a job makes its deliveries due in the same
step (`change_record.lua`), so that whoever ends a job need not know of them. Each is made at least once.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NamedTuple, cast

import redis
from redis.client import Pipeline

from unitrank_store.jobs.ids import new_id
from unitrank_store.redis import keyspace
from unitrank_store.redis.decoding import text
from unitrank_store.redis.scripts import LuaScript

LEASE_SECONDS = 60.0
"""Longer than an attempt can take."""
_ADD, _TAKE, _SETTLE = (LuaScript("unitrank_store.webhooks", f"{verb}_delivery.lua") for verb in ("add", "take", "settle"))

DeliveryState = Literal["pending", "delivered", "failed"]


@dataclass(frozen=True)
class AttemptRecord:
    """One try: `at` in unix seconds; a status where there was an answer, else an error."""

    at: float
    status: int | None
    error: str | None
    seconds: float


@dataclass(frozen=True)
class DeliveryRecord:
    """`owner`: the key whose secret signs it. `next_at`: when it is tried again, in unix seconds."""

    id: str
    owner: str
    url: str
    state: DeliveryState = "pending"
    attempts: tuple[AttemptRecord, ...] = ()
    next_at: float | None = None

    @classmethod
    def of(cls, owner: str, url: str) -> "DeliveryRecord":
        """A new one; its id stays the same over all attempts."""
        return cls(f"msg_{new_id()}", owner, url)

    def tried(self, attempt: AttemptRecord, state: DeliveryState, next_at: float | None) -> "DeliveryRecord":
        """The same after one more attempt."""
        return replace(self, attempts=(*self.attempts, attempt), state=state, next_at=next_at)


class DueDelivery(NamedTuple):
    """A delivery that was taken. `stored`: its JSON in the store, None where the delivery is gone."""

    member: str
    job: str
    stored: str | None

    @property
    def delivery(self) -> DeliveryRecord | None:
        return None if self.stored is None else _decoded(self.stored)


class DeliveryStore:
    """Those of all jobs. `most`: so many of one owner may be under way at once."""

    def __init__(self, connection: redis.Redis, most: int = 2) -> None:
        self._redis = connection
        self._most = most

    def add(self, job: str, delivery: DeliveryRecord, pipeline: Pipeline) -> None:
        """Queue it on the pipeline; adding it twice is adding it once. The reply is 0 where there is no such job."""
        _ADD(
            pipeline,
            [keyspace.record("job", job), keyspace.deliveries("job", job), keyspace.owners_with_due()],
            id=job,
            owner=delivery.owner,
            field=_field(delivery),
            delivery=_encoded(delivery),
            due=keyspace.due(""),
        )

    def of(self, job: str) -> Sequence[DeliveryRecord]:
        """Of a job, the oldest first."""
        # Any: redis-py types no reply
        stored = cast(list[Any], self._redis.hvals(keyspace.deliveries("job", job)))
        return sorted((_decoded(text(each)) for each in stored), key=lambda delivery: delivery.id)

    def count(self, job: str) -> int:
        """How many a job has."""
        return int(self._redis.hlen(keyspace.deliveries("job", job)))

    def take(self, now: float) -> DueDelivery | None:
        """The next one that is due, which nobody else has for `LEASE_SECONDS`."""
        keys = [keyspace.owners_with_due(), keyspace.deliveries_under_way()]
        taken = _TAKE(self._redis, keys, due=keyspace.due(""), now=now, lease_end=now + LEASE_SECONDS, most=self._most)
        if taken is None:
            return None
        member = text(taken)
        field, _, job = member.rpartition(":")
        stored = self._redis.hget(keyspace.deliveries("job", job), field)
        return DueDelivery(member, job, None if stored is None else text(stored))

    def settle(self, due: DueDelivery, delivery: DeliveryRecord | None) -> bool:
        """Note what came of it (None: nobody wants it any more); False where it is gone, or another one was faster."""
        field = due.member.rpartition(":")[0]
        keys = [keyspace.deliveries("job", due.job), keyspace.due(field.partition(":")[0]), keyspace.deliveries_under_way()]
        return bool(
            _SETTLE(
                self._redis,
                keys,
                field=field,
                member=due.member,
                before=due.stored,
                after=None if delivery is None else _encoded(delivery),
                again=None if delivery is None else delivery.next_at,
            )
        )


def _field(delivery: DeliveryRecord) -> str:
    # The owner stands first: whoever makes it due has nothing else.
    return f"{delivery.owner}:{delivery.id}"


def _encoded(delivery: DeliveryRecord) -> str:
    return json.dumps(asdict(delivery))


def _decoded(stored: str) -> DeliveryRecord:
    fields = json.loads(stored)
    return DeliveryRecord(**fields | {"attempts": tuple(AttemptRecord(**each) for each in fields["attempts"])})
