"""Keys that a new record takes, all or none, provided that none has changed since the decision to create the record."""

from collections.abc import Sequence
from dataclasses import dataclass

from redis.client import Pipeline

from unitrank_store.errors import Taken


@dataclass(frozen=True)
class Claim:
    """`before`: the key's value at the decision, None where the key was not there. `after`: its value for `seconds` from now on."""

    key: str
    before: bytes | str | None
    after: str
    seconds: int


def take(claims: Sequence[Claim], pipeline: Pipeline) -> None:
    """Queue the new values on a pipeline that watches the keys. Raises Taken where a key has changed."""
    for claim in claims:
        if pipeline.get(claim.key) != claim.before:
            raise Taken(f"{claim.key} was taken meanwhile")
    pipeline.multi()
    for claim in claims:
        pipeline.set(claim.key, claim.after, ex=claim.seconds)
