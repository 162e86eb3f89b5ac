"""Checks the service, the key, the store and the installed packages, for `unitrank doctor`."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from unitrank.client.endpoints import BYTES, JSON, Calls
from unitrank.client.http.operations import Flow, HttpRequest
from unitrank.errors import Forbidden, Unauthorized, UnitrankError, Unreachable
from unitrank.name_clashes import hiding_files
from unitrank.server.gpus import find_gpus

# No request changes anything: the GET only reads, and the others are invalid. If the key lacks the
# scope, the service answers 403 before it checks the request.
PROBES = {
    "read": HttpRequest("GET", "/v1/models", {"limit": "1"}),
    "write": HttpRequest("POST", "/v1/jobs", {"dry_run": "true"}, JSON, b"{}"),
    "models": HttpRequest("PUT", "/v1/models/doctor", {}, BYTES, b""),
}
PACKAGES = {
    "numpy": "results as arrays",
    "torch": "export, and rank in process: pip install 'unitrank[worker]'",
    "matplotlib": "plots: pip install 'unitrank[plots]'",
    "pandas": "data frames: pip install pandas",
    "redis": "`unitrank up` and `keys`: pip install 'unitrank[service,worker,embedded]'",
    "fastapi": "`unitrank up`: pip install 'unitrank[service,worker,embedded]'",
}
STORE_ACL = "store's ACL"
"""Subject of the finding whose detail is the command that creates a user of the store."""
STORE_SECONDS = 2.0
"""Seconds that the store may take to answer."""


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    Args:
        subject: the checked thing, such as `service` or a package.
        ok: whether the check passed.
        detail: the version or address, or what is wrong and the next step.
        required: whether `unitrank doctor` fails if the check fails.
    """

    subject: str
    ok: bool
    detail: str
    required: bool = True

    def as_json(self) -> dict[str, Any]:
        """The finding as `unitrank doctor --json` prints it."""
        return {"what": self.subject, "good": self.ok, "said": self.detail, "needed": self.required}


def of_service(calls: Calls, url: str) -> Flow[list[Finding]]:
    """Checks the service, the key and the workers.

    If the service does not answer, the other checks are left out.
    """
    health_error = yield from calls.probe(HttpRequest("GET", "/healthz"))
    if health_error is not None:
        return [Finding("service", False, f"{health_error}; set the address with --url or UNITRANK_URL")]
    readiness = yield from readiness_findings(calls)
    errors = {}
    for scope, request in PROBES.items():
        errors[scope] = yield from calls.probe(request)
    findings = [Finding("service", True, url), *readiness, *_key(errors)]
    if not isinstance(errors["read"], Unauthorized | Forbidden | Unreachable):
        service_version = (yield from calls.version()).version
        findings.append(Finding("version", True, f"service {service_version}, client {version('unitrank')}"))
        workers = (yield from calls.workers()).items
        names = ", ".join(f"{worker.name} on {worker.device}" for worker in workers)
        findings.append(
            Finding("workers", bool(workers), names or "no worker is alive; start one with `python -m unitrank_worker`")
        )
    return findings


def of_store() -> Iterator[Finding]:
    """Checks the store that UNITRANK_REDIS_URL names, and shows the ACL that it needs.

    Without this variable, or without the store's packages, there is nothing to check.
    """
    try:
        import redis

        from unitrank_store.observability.logs import redacted
        from unitrank_store.redis.connection import connect_briefly
        from unitrank_store.redis.faults import find_faults
        from unitrank_store.redis.permissions import acl_command
        from unitrank_store.settings import BadSettings, Settings
        from unitrank_store.unavailable import store_error
    except ImportError:
        return
    try:
        url = Settings.read().redis_url
    except BadSettings as error:
        yield Finding("settings", False, str(error))
        return
    if url is None:
        return
    try:
        with connect_briefly(url, STORE_SECONDS) as connection:
            faults = find_faults(connection)
    except redis.exceptions.RedisError as error:
        yield Finding("store", False, f"the store at {redacted(url)} {store_error(error)}: {redacted(str(error))}")
    else:
        yield Finding("store", True, redacted(url))
        for fault in faults:
            yield Finding(f"store: {fault.code}", False, fault.detail, required=fault.severity != "warning")
    yield Finding(STORE_ACL, True, acl_command(), required=False)


def of_variables(names: Iterable[str]) -> Iterator[Finding]:
    """Names the variables that look like a setting, but are not known."""
    try:
        from unitrank_store.unknown_variables import unknown_variables
    except ImportError:
        return
    for name, nearest in unknown_variables(names):
        detail = "no process reads this variable" + (f"; did you mean {nearest}?" if nearest else "")
        yield Finding(name, False, detail, required=False)


def of_installation() -> Iterator[Finding]:
    """Checks the optional packages, and whether the engine can be imported."""
    for package, purpose in PACKAGES.items():
        installed = find_spec(package) is not None
        detail = version(package) if installed else f"not installed; needed for {purpose}"
        yield Finding(package, installed, detail, required=False)
    try:
        import torch

        from unitrank_engine import pipeline as _  # noqa: F401  # the import is the check
    except ImportError as error:
        yield Finding("local engine", False, f"cannot be imported: {error}", required=False)
    else:
        devices = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
        yield Finding("local engine", True, f"on {', '.join(devices)}", required=False)


def of_gpus(environment: Mapping[str, str]) -> Finding:
    """The GPUs for which `unitrank up` starts workers."""
    gpus = find_gpus(environment)
    return Finding(
        "GPUs", gpus.fault is None, gpus.fault or ", ".join(gpus.ids) or "none found; workers use the CPU", required=False
    )


def of_folder(folder: Path) -> Iterator[Finding]:
    """The files of the folder that Python would import instead of a Unitrank package."""
    for file in hiding_files(folder):
        hint = "scripts and notebooks in this folder import it instead of Unitrank's package; rename it"
        yield Finding(str(file.relative_to(folder)), False, hint, required=False)


def readiness_findings(calls: Calls) -> Flow[list[Finding]]:
    """Whether jobs can run, and the faults that the service names."""
    try:
        readiness = yield from calls.readiness()
    except UnitrankError as error:
        return [Finding("ready", False, str(error))]
    warnings = [
        Finding("confinement" if warning.code == "confinement" else f"store: {warning.code}", False, warning.detail, required=False)
        for warning in readiness.warnings
    ]
    return [Finding("ready", True, "jobs can run"), *warnings]


def _key(errors: dict[str, UnitrankError | None]) -> list[Finding]:
    """Checks the key. `errors`: scope → the error of a request that needs the scope."""
    unauthorized = next((error for error in errors.values() if isinstance(error, Unauthorized)), None)
    if unauthorized is not None:
        return [Finding("key", False, f"{unauthorized.detail}; set UNITRANK_KEY")]
    allowed = [scope for scope, error in errors.items() if not isinstance(error, Forbidden)]
    missing = [scope for scope in errors if scope not in allowed]
    detail = f"scopes {', '.join(allowed) or 'none'}" + (f"; missing {', '.join(missing)}" if missing else "")
    return [Finding("key", bool(allowed), detail)]
