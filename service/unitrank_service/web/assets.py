"""The page's own files: style sheet, script and icon, each with a version that changes when its content does."""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

TYPES = {"page.css": "text/css; charset=utf-8", "page.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml"}


@dataclass(frozen=True)
class Asset:
    """One file, and its version."""

    content: bytes
    kind: str
    version: str


@cache
def asset(name: str) -> Asset:
    """Raises KeyError for what is none of `TYPES`."""
    kind = TYPES[name]
    content = files("unitrank_service.web").joinpath("static", name).read_bytes()
    return Asset(content, kind, hashlib.sha256(content).hexdigest()[:16])


def address(name: str) -> str:
    """Where browsers may keep it for ever: with another content it has another address."""
    return f"/static/{name}?v={asset(name).version}"
