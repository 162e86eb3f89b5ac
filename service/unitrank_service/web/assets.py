"""The page's own files: style sheet, script and icon, each with a version that changes when its content does."""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from unitrank_schemas.jobs.clusters import CLUSTER_KINDS

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
    if name == "page.css":
        content += _kind_rules().encode()
    return Asset(content, kind, hashlib.sha256(content).hexdigest()[:16])


def _kind_rules() -> str:
    """One rule for each kind of clusters: its controls are seen where it is chosen, also in a browser without scripts."""
    kinds = [by for by, kind in CLUSTER_KINDS.items() if kind.controls]
    return "".join(f"form:has(#by [value={by}]:checked) .when-{by} {{ display: block; }}\n" for by in kinds)


def address(name: str) -> str:
    """Where browsers may keep it for ever: with another content it has another address."""
    return f"/static/{name}?v={asset(name).version}"
