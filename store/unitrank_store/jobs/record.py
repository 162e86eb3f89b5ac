"""The record of one job or one inspection, and its encoding as a Redis hash."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import cached_property
from typing import Any, Literal, Self, cast

from unitrank_schemas.base import Json
from unitrank_store.jobs.listing.listing import listing_of, words_of

Status = Literal["queued", "running", "cancelling", "succeeded", "failed", "cancelled", "timed_out"]

DEFAULT_TENANT = "default"
LIVE: tuple[Status, ...] = ("queued", "running", "cancelling")
ENDED: tuple[Status, ...] = ("succeeded", "failed", "cancelled", "timed_out")
FORMAT = 1
"""Version of the records that this code writes. A worker runs records up to this version.

Raise it when a worker of the version before would misread every record: for example, if `resolved`
names a content in another way. A new option of a request needs no new version, and a new form of
data only a name, see `unitrank_schemas.jobs.options`. A new field of a record needs a default and
no new version: readers ignore the fields that they do not know.
"""


@dataclass(frozen=True)
class JobRecord:
    """A snapshot of a record: the record in the store may have changed since it was read.

    `attempt`: number of times that the job was started; it is the fencing token of its changes.
    `created_at`, `started_at`, `finished_at`, `expires_at`: unix times, in seconds.
    `request_text`: the request as JSON text. It may contain a dataset, so that parsing takes long.
    `resolved`: values that the service derived from the request, such as digests.
    `worker`: name of the worker that runs the job.
    `result`: the location of the result in the store.
    `version`: a number that grows with every change of the record.
    `losses`: number of processes that were lost while they ran the job.
    `needs`: digests of the contents that must stay until the job has ended.
    `waiting_for`: keys of the models and datasets that must become ready first.
    `owner`: id of the API key that the request came with; empty for requests without a key.
    `tenant`: the tenant that can read the record.
    `format`: version of the record, see `FORMAT`; records of the first versions have no such field.
    `summary`: the result in short, see `unitrank_schemas.jobs.JobSummary`.
    `listing`: the parts of the request that lists show and search, see `listing_of`.
    `words`: the text in which a search finds the job, see `words_of`.
    """

    id: str
    status: Status
    attempt: int
    created_at: float
    started_at: float | None
    finished_at: float | None
    expires_at: float | None
    request_text: str
    resolved: Json
    progress: Json | None
    problem: Json | None
    worker: str | None
    result: Json | None
    cancel_requested: bool
    version: int
    losses: int
    needs: list[str]
    waiting_for: list[str]
    owner: str
    tenant: str
    format: int = 1
    summary: Json | None = None
    listing: Json | None = None
    words: str = ""

    @classmethod
    def queued(
        cls,
        *,
        id: str,
        created_at: float,
        request: Json,
        resolved: Json,
        needs: Sequence[str],
        waiting_for: Sequence[str],
        owner: str,
        tenant: str,
        submitted_by: str | None = None,
    ) -> Self:
        """Return a new record, which no worker has started.

        `submitted_by`: name of the key that submitted the job; None for a record without listing.
        """
        listing = None if submitted_by is None else listing_of(request, submitted_by)
        return cls(
            id=id,
            status="queued",
            attempt=0,
            created_at=created_at,
            started_at=None,
            finished_at=None,
            expires_at=None,
            request_text=json.dumps(request),
            resolved=resolved,
            progress=None,
            problem=None,
            worker=None,
            result=None,
            cancel_requested=False,
            version=1,
            losses=0,
            needs=list(needs),
            waiting_for=list(waiting_for),
            owner=owner,
            tenant=tenant,
            format=FORMAT,
            listing=listing,
            words=words_of(id, listing) if listing else "",
        )

    @cached_property
    def request(self) -> Json:
        # cast: the text is the JSON object that `JobStore.create` received
        return cast(Json, json.loads(self.request_text))

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def timeout(self) -> float:
        """Maximum seconds of one attempt."""
        return float(self.request.get("timeout") or 3600)

    @property
    def cpu_seconds(self) -> float:
        """Maximum seconds of CPU time of one attempt; infinite for a job."""
        return float(self.request.get("cpu_seconds") or math.inf)


# The hash holds these fields as plain text, and all other fields as JSON.
_PLAIN = ("id", "status", "request_text", "owner", "tenant", "words")
_STORED_AS = {"request_text": "request"}


def encode(values: Mapping[str, Any]) -> dict[Any, Any]:
    """Return fields of a record as the fields of a Redis hash."""
    # Any: the type that redis-py declares for a hash
    return {_STORED_AS.get(name, name): value if name in _PLAIN else json.dumps(value) for name, value in values.items()}


def decode(stored: Mapping[bytes, bytes]) -> JobRecord:
    """Return the record that a whole Redis hash holds.

    A field that the writer did not know gets its default. Raises KeyError if it has none.
    """
    texts = {name.decode(): value.decode() for name, value in stored.items()}
    # Any: each field has the type that it had before `encode`
    values: dict[str, Any] = {
        field.name: text if field.name in _PLAIN else json.loads(text)
        for field in fields(JobRecord)
        if field.default is MISSING or field.name in texts
        for text in [texts[_STORED_AS.get(field.name, field.name)]]
    }
    return JobRecord(**values)
