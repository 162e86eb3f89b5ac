"""Stores that earlier commits wrote: `tests/store/data/write_*.py.txt` made them."""

import base64
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

FOLDER = Path(__file__).parents[1] / "store" / "data"
EARLIEST, RECORDED = FOLDER / "earlier_store.json", FOLDER / "recorded_store.json"
"""The stores of the commits 2ee911a and eb0625d."""


@dataclass(frozen=True)
class EarlierStore:
    """Contents of the store.

    `done`, `queued`: ids of two jobs. `secret`: of the API key that posted them.
    `session`: token of a session of this key; None in the earliest store.
    """

    done: str
    queued: str
    secret: str
    session: str | None


def load(connection: redis.Redis, blobs: Path, file: Path = EARLIEST) -> EarlierStore:
    """Write the earlier store's keys to an empty server and its blobs to a folder."""
    document = json.loads(file.read_text())
    with connection.pipeline() as pipeline:
        for key, (type, value) in document["keys"].items():
            _write(pipeline, key, type, value)
        pipeline.execute()
    for name, packed in document["blobs"].items():
        path = blobs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(zlib.decompress(base64.b85decode(packed)))
    return EarlierStore(
        done=document["done"], queued=document["queued"], secret=document["secret"], session=document.get("session")
    )


# `value` is Any: each type of key has another form in JSON.
def _write(pipeline: redis.client.Pipeline, key: str, type: str, value: Any) -> None:
    match type:
        case "string":
            pipeline.set(key, _bytes(value))
        case "hash":
            pipeline.hset(key, mapping={_bytes(field): _bytes(each) for field, each in value.items()})
        case "set":
            pipeline.sadd(key, *map(_bytes, value))
        case "zset":
            pipeline.zadd(key, {_bytes(member): score for member, score in value})
        case "list":
            pipeline.rpush(key, *map(_bytes, value))
        case "stream":
            for id, fields in value:
                pipeline.xadd(key, {_bytes(field): _bytes(each) for field, each in fields.items()}, id=id)


def _bytes(text: str) -> bytes:
    return text.encode("latin-1")
