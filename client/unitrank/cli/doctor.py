"""What works here and what is missing: the service, the key, and what is installed."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from unitrank.client.endpoints import BYTES, JSON, Calls
from unitrank.client.operations import Ask, Flow
from unitrank.errors import Forbidden, Unauthorized, UnitrankError, Unreachable
from unitrank.name_clashes import hiding_files

# Asked with nothing in it, each is refused for that: whoever lacks the scope is refused before.
PROBES = {
    "read": Ask("GET", "/v1/models", {"limit": "1"}),
    "write": Ask("POST", "/v1/jobs", {"dry_run": "true"}, JSON, b"{}"),
    "models": Ask("PUT", "/v1/models/doctor", {}, BYTES, b""),
}
PACKAGES = {
    "numpy": "results as arrays",
    "torch": "export and rank in process: pip install 'unitrank[worker]'",
    "matplotlib": "pictures: pip install 'unitrank[plots]'",
    "pandas": "data frames: pip install pandas",
    "redis": "`unitrank up` and `keys`: pip install 'unitrank[service,worker,embedded]'",
    "fastapi": "`unitrank up`: pip install 'unitrank[service,worker,embedded]'",
}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; what is not `needed` may be missing."""

    what: str
    good: bool
    said: str
    needed: bool = True


def of_service(calls: Calls, url: str) -> Flow[list[Finding]]:
    """The service and the key, as far as it answers."""
    alive = yield from calls.probe(Ask("GET", "/healthz"))
    if alive is not None:
        return [Finding("service", False, f"{alive}; start one with `unitrank up`, or name it with --url or UNITRANK_URL")]
    ready = yield from calls.probe(Ask("GET", "/readyz"))
    scopes = {}
    for scope, ask in PROBES.items():
        scopes[scope] = yield from calls.probe(ask)
    findings = [Finding("service", True, url), Finding("ready", ready is None, str(ready or "jobs can be run"))]
    findings += _key(scopes)
    if not isinstance(scopes["read"], Unauthorized | Forbidden | Unreachable):
        theirs = (yield from calls.version()).version
        findings.append(Finding("version", True, f"{theirs}, and here {version('unitrank')}"))
        workers = (yield from calls.workers()).items
        names = ", ".join(f"{worker.name} on {worker.device}" for worker in workers)
        findings.append(Finding("workers", bool(workers), names or "none is alive; start one with `python -m unitrank_worker`"))
    return findings


def of_installation() -> Iterator[Finding]:
    """What is installed beside the client, and whether the engine can be loaded."""
    for package, purpose in PACKAGES.items():
        there = find_spec(package) is not None
        yield Finding(package, there, version(package) if there else f"not installed; for {purpose}", needed=False)
    try:
        import torch

        from unitrank_engine import pipeline as _  # noqa: F401  # loading it is what is tried
    except ImportError as error:
        yield Finding("local engine", False, f"cannot be loaded: {error}", needed=False)
    else:
        devices = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
        yield Finding("local engine", True, f"on {', '.join(devices)}", needed=False)


def of_folder(folder: Path) -> Iterator[Finding]:
    """The files of the folder that Python would import instead of Unitrank's packages."""
    for file in hiding_files(folder):
        hint = "scripts and notebooks in this folder import it in the place of Unitrank's package; rename it"
        yield Finding(str(file.relative_to(folder)), False, hint, needed=False)


def _key(scopes: dict[str, UnitrankError | None]) -> list[Finding]:
    wrong = next((error for error in scopes.values() if isinstance(error, Unauthorized)), None)
    if wrong is not None:
        return [Finding("key", False, f"{wrong.detail}; set UNITRANK_KEY")]
    may = [scope for scope, error in scopes.items() if not isinstance(error, Forbidden)]
    lacks = [scope for scope in scopes if scope not in may]
    return [Finding("key", bool(may), f"may {', '.join(may) or 'nothing'}" + (f", not {', '.join(lacks)}" if lacks else ""))]
