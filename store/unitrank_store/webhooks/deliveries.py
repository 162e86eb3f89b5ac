"""Deliveries of webhooks. A delivery tells a URL that a job has ended, in one or more attempts.

The deliveries of a job are stored in a hash of their own, which expires with the job's record. The
script that ends a record (`change_record.lua`) also makes its deliveries due, in the same step.
Each delivery is made at least once: a lease that ends without an outcome leads to another attempt.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NamedTuple, cast

import redis
from redis.client import Pipeline

from unitrank_store.jobs.ids import new_id
from unitrank_store.redis import keyspace
from unitrank_store.redis.decoding import known_fields, text
from unitrank_store.redis.scripts import LuaScript

LEASE_SECONDS = 60.0
"""Seconds for which a process has a delivery. More than the longest attempt."""
_ADD, _TAKE, _SETTLE = (LuaScript("unitrank_store.webhooks", f"{verb}_delivery.lua") for verb in ("add", "take", "settle"))

DeliveryState = Literal["pending", "delivered", "failed"]


@dataclass(frozen=True)
class AttemptRecord:
    """One attempt to deliver.

    `at`: unix time, in seconds. `seconds`: the attempt's duration.
    `status`: the HTTP status of the response; None without a response.
    `error`: the reason why there was no response; None with a response.
    """

    at: float
    status: int | None
    error: str | None
    seconds: float


@dataclass(frozen=True)
class DeliveryRecord:
    """One delivery and its attempts so far.

    `owner`: id of the API key whose webhook secret signs the message.
    `next_at`: unix time of the next attempt, in seconds; None before the first and after the last.
    """

    id: str
    owner: str
    url: str
    state: DeliveryState = "pending"
    attempts: tuple[AttemptRecord, ...] = ()
    next_at: float | None = None

    @classmethod
    def of(cls, owner: str, url: str) -> "DeliveryRecord":
        """Return a new delivery. Its id is the same in all attempts."""
        return cls(f"msg_{new_id()}", owner, url)

    def tried(self, attempt: AttemptRecord, state: DeliveryState, next_at: float | None) -> "DeliveryRecord":
        """Return the delivery with one more attempt."""
        return replace(self, attempts=(*self.attempts, attempt), state=state, next_at=next_at)


class DueDelivery(NamedTuple):
    """A delivery that this process has taken.

    `member`: its entry in the sorted sets, "owner:delivery's id:job's id". `job`: the job's id.
    `stored`: its JSON in the store; None if the delivery was deleted.
    """

    member: str
    job: str
    stored: str | None

    @property
    def delivery(self) -> DeliveryRecord | None:
        """The delivery; None if it was deleted."""
        return None if self.stored is None else _decoded(self.stored)


class DeliveryStore:
    """The deliveries of all jobs.

    `most`: maximum number of deliveries of one owner that are made at the same time.
    """

    def __init__(self, connection: redis.Redis, most: int = 2) -> None:
        self._redis = connection
        self._most = most

    def add(self, job: str, delivery: DeliveryRecord, pipeline: Pipeline) -> None:
        """Queue the script that adds a delivery to a job. Repeating it changes nothing.

        The script's reply is 0 if the job does not exist.
        """
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
        """Return the deliveries of a job, the oldest first."""
        # Any: redis-py types no reply
        values = cast(list[Any], self._redis.hvals(keyspace.deliveries("job", job)))
        return sorted((_decoded(text(value)) for value in values), key=lambda delivery: delivery.id)

    def count(self, job: str) -> int:
        """Return the number of a job's deliveries."""
        return int(self._redis.hlen(keyspace.deliveries("job", job)))

    def take(self, now: float) -> DueDelivery | None:
        """Take the next due delivery: no other process gets it for `LEASE_SECONDS`.

        Returns None if no delivery is due. `now`: unix time, in seconds.
        """
        keys = [keyspace.owners_with_due(), keyspace.deliveries_under_way()]
        reply = _TAKE(self._redis, keys, due=keyspace.due(""), now=now, lease_end=now + LEASE_SECONDS, most=self._most)
        if reply is None:
            return None
        member = text(reply)
        field, _, job = member.rpartition(":")
        stored = self._redis.hget(keyspace.deliveries("job", job), field)
        return DueDelivery(member, job, None if stored is None else text(stored))

    def settle(self, due: DueDelivery, delivery: DeliveryRecord | None) -> bool:
        """Store a taken delivery after its attempt, or delete it (None).

        Returns False if the delivery was deleted, or changed by another process.
        """
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
    # The field begins with the owner: change_record.lua reads the owner from the field.
    return f"{delivery.owner}:{delivery.id}"


def _encoded(delivery: DeliveryRecord) -> str:
    return json.dumps(asdict(delivery))


def _decoded(stored: str) -> DeliveryRecord:
    fields = json.loads(stored)
    attempts = tuple(AttemptRecord(**known_fields(AttemptRecord, attempt)) for attempt in fields["attempts"])
    return DeliveryRecord(**known_fields(DeliveryRecord, fields | {"attempts": attempts}))
