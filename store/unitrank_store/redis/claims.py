"""Keys that a new record takes, all or none, if they still say what they said when it was decided to make it."""

from collections.abc import Sequence
from dataclasses import dataclass

from redis.client import Pipeline

from unitrank_store.errors import Taken


@dataclass(frozen=True)
class Claim:
    """`seen`: what the key said, None where it was not there; `says`: what it is to say for so many seconds."""

    key: str
    seen: bytes | str | None
    says: str
    seconds: int


def take(claims: Sequence[Claim], pipeline: Pipeline) -> None:
    """Queue the new words on a pipeline that watches the keys. Raises Taken where one says something else by now."""
    for claim in claims:
        if pipeline.get(claim.key) != claim.seen:
            raise Taken(f"{claim.key} was taken meanwhile")
    pipeline.multi()
    for claim in claims:
        pipeline.set(claim.key, claim.says, ex=claim.seconds)
