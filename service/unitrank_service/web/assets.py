"""The static files of the pages, each with a version made of its content.

Swagger UI, which draws /docs, comes from the package `fastapi_offline`. uPlot, which draws
plots, is a copy of its released files.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from unitrank_schemas.jobs.clusters import CLUSTER_KINDS

CSS, JAVASCRIPT = "text/css; charset=utf-8", "text/javascript; charset=utf-8"
TYPES = {
    "page.css": CSS,
    "page.js": JAVASCRIPT,
    "plots.css": CSS,
    "plots.js": JAVASCRIPT,
    "gallery.js": JAVASCRIPT,
    "uPlot.min.css": CSS,
    "uPlot.iife.min.js": JAVASCRIPT,
    "icon.svg": "image/svg+xml",
    "docs.js": JAVASCRIPT,
    "swagger-ui.css": CSS,
    "swagger-ui-bundle.js": JAVASCRIPT,
}


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
    package = "fastapi_offline" if name.startswith("swagger-ui") else "unitrank_service.web"
    folder = "static/uplot" if name.startswith("uPlot") else "static"
    content = files(package).joinpath(folder, name).read_bytes()
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
    """The file's path below the prefix. Browsers may cache it: a changed file has another path."""
    return f"/static/{name}?v={asset(name).version}"
