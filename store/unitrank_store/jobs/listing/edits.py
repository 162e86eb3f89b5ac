"""Changes the request of a record: its metadata, and the listing that belongs to the request."""

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

import redis

from unitrank_store.jobs.record import encode
from unitrank_store.redis.scripts import LuaScript

_EDIT = LuaScript("unitrank_store.jobs.listing", "edit_request.lua")
Edited = Literal["edited", "changed", "missing"]
_OUTCOMES: dict[int, Edited] = {1: "edited", 0: "changed", -1: "missing"}


def edit_request(connection: redis.Redis, key: str, request_text: str, fields: Mapping[str, Any]) -> Edited:
    """Set fields of a record whose request is still `request_text`.

    `key`: the record's key. `fields`: names of `JobRecord` → values.
    Returns `changed` if the record has another request, and `missing` if there is no record.
    """
    # Redis itself names texts by their SHA-1 in scripts.
    digest = hashlib.sha1(request_text.encode(), usedforsecurity=False).hexdigest()
    return _OUTCOMES[int(_EDIT(connection, [key], request=digest, fields=encode(fields)))]
