"""Claims: Redis keys that are written together, if none has changed since it was read."""

from collections.abc import Sequence
from dataclasses import dataclass

from redis.client import Pipeline

from unitrank_store.errors import Taken


@dataclass(frozen=True)
class Claim:
    """A key's new value, and the old value under which it may be written.

    `before`: the key's value when it was read; None if the key did not exist.
    `after`: the new value. `seconds`: the new value's lifetime.
    """

    key: str
    before: bytes | str | None
    after: str
    seconds: int


def take(claims: Sequence[Claim], pipeline: Pipeline) -> None:
    """Queue the new values on a pipeline that watches the keys. Raises Taken for a changed key."""
    for claim in claims:
        if pipeline.get(claim.key) != claim.before:
            raise Taken(f"another request changed {claim.key} first; send the request again")
    pipeline.multi()
    for claim in claims:
        pipeline.set(claim.key, claim.after, ex=claim.seconds)
