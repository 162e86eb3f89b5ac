"""Responses: JSON with an ETag, one page of a list, and times as RFC 3339."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from fastapi import Request, Response

from unitrank_schemas.base import Schema

Content = Schema | Mapping[str, Any] | Sequence[Any] | str | bytes
"""Content that can be JSON; bytes are JSON already."""


def answer(request: Request, content: Content, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return one resource as JSON with its ETag, or 304 if the client has this content."""
    body = encoded(content)
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    extra = dict(headers or {})
    if status == 200 and client_has(request, tag):
        return Response(status_code=304, headers={**extra, "ETag": tag})
    return Response(body, status, {**extra, "ETag": tag, "Cache-Control": "private, no-cache"}, "application/json")


def page(items: Sequence[Content], next: str | None) -> Response:
    """Return one page of a list. `next`: the cursor of the next page; None on the last page."""
    body = b",".join(encoded(item) for item in items)
    return Response(b'{"items":[' + body + b'],"next":' + json.dumps(next).encode() + b"}", media_type="application/json")


def client_has(request: Request, tag: str) -> bool:
    """Whether `If-None-Match` contains the tag or `*`: the client has the content already."""
    header = request.headers.get("if-none-match", "")
    tags = {part.strip().removeprefix("W/") for part in header.split(",")}
    return "*" in tags or tag in tags


def encoded(content: Content) -> bytes:
    """Return the content as JSON in UTF-8. Raises ValueError for NaN and infinity."""
    if isinstance(content, bytes):
        return content
    if isinstance(content, Schema):
        return content.model_dump_json().encode()
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def moment(seconds: float | None) -> str | None:
    """Return Unix seconds as an RFC 3339 time in UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
