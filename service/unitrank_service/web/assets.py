"""The static files of the page: style sheet, script and icon, each with a version made of its
content.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from unitrank_schemas.jobs.clusters import CLUSTER_KINDS

TYPES = {"page.css": "text/css; charset=utf-8", "page.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml"}


@dataclass(frozen=True)
class Asset:
    """One file.

    `kind`: its media type; `version`: the first 16 hexadecimal digits of its SHA-256.
    """

    content: bytes
    kind: str
    version: str


@cache
def asset(name: str) -> Asset:
    """The file with this name. Raises KeyError for a name that is not in `TYPES`."""
    kind = TYPES[name]
    content = files("unitrank_service.web").joinpath("static", name).read_bytes()
    if name == "page.css":
        content += _kind_rules().encode()
    return Asset(content, kind, hashlib.sha256(content).hexdigest()[:16])


def _kind_rules() -> str:
    """One CSS rule for each cluster kind: show its controls if it is chosen, also in a browser
    without scripts.
    """
    kinds = [by for by, kind in CLUSTER_KINDS.items() if kind.controls]
    return "".join(f"form:has(#by [value={by}]:checked) .when-{by} {{ display: block; }}\n" for by in kinds)


def address(name: str) -> str:
    """The file's URL. Browsers may cache the file for ever: a changed file has another URL."""
    return f"/static/{name}?v={asset(name).version}"
