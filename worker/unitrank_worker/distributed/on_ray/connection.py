"""Connects this process to Ray, and sets Ray's environment."""

import os
import secrets
import socket
from collections.abc import Collection, Mapping
from typing import Any

import structlog

from unitrank_worker.distributed.errors import NotDivided

log = structlog.get_logger()

LOCAL = "auto"
"""The address of a cluster of this machine alone, which the driver starts."""
PROBE_SECONDS = 5.0
"""Seconds that the head may take to accept a connection. Ray itself waits for two minutes."""
HEAD_SECONDS = 10
"""Seconds without the head of the cluster after which Ray ends the driver."""


def driver_environment(variables: Mapping[str, str], withheld: Collection[str]) -> dict[str, str]:
    """The environment of the driver, which Ray hands on to actors of this machine.

    `withheld`: the store's address and passwords. A variable with one of them is left out.
    """
    allowed = {
        name: value
        for name, value in variables.items()
        if not name.startswith("OTEL_") and "REDIS_URL" not in name and not any(secret in value for secret in withheld if secret)
    }
    return {
        "RAY_AUTH_MODE": "token",
        **allowed,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_gcs_rpc_server_reconnect_timeout_s": str(HEAD_SECONDS),
    }


def connect(address: str, *, gpus: bool) -> None:
    """Connect to the cluster at the address. Raises NotDivided.

    `gpus`: whether a cluster of this machine alone uses its GPUs.
    """
    try:
        import ray
    except ImportError as error:
        detail = "UNITRANK_RAY is set, but Ray is not installed on this worker: pip install 'unitrank[ray]'"
        raise NotDivided("ray_unreachable", detail) from error
    options: dict[str, Any] = {"address": "local", "log_to_driver": False, "logging_level": "WARNING", "include_dashboard": False}
    if address == LOCAL:
        if os.environ["RAY_AUTH_MODE"] == "token" and not {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys():
            os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        options |= {} if gpus else {"num_gpus": 0}
    else:
        _probe(address)
        options = {"address": address, "log_to_driver": False, "logging_level": "WARNING"}
    try:
        ray.init(**options)
    except (Exception, SystemExit) as error:
        # Ray ends the process after some failed connections.
        log.warning("not connected to Ray", address=address, error=str(error))
        raise _refused(address, error) from error


def _probe(address: str) -> None:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), PROBE_SECONDS).close()
    except OSError as error:
        detail = f"no Ray answers at {address} ({error}); start one with `ray start --head`, or correct UNITRANK_RAY"
        raise NotDivided("ray_unreachable", detail) from error


def _refused(address: str, error: BaseException) -> NotDivided:
    if "ersion mismatch" in str(error):
        reason = " ".join(str(error).split())
        return NotDivided("ray_versions_differ", f"the versions of the Ray cluster and of this worker differ: {reason}")
    reason = " ".join(str(error).split())[:500] or type(error).__name__
    detail = (
        f"the Ray cluster at {address} cannot be used from this worker: {reason}; this machine must be part of "
        "the cluster (`ray start --address`), with the same token"
    )
    return NotDivided("ray_unreachable", detail)
