"""The operator's settings, which a process reads once from the environment when it starts."""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import fsspec
import fsspec.core
from pydantic import AliasChoices, Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from unitrank_store.network_names import host_name, origin, path_prefix, proxy_address
from unitrank_store.redis.connection import check_address
from unitrank_tables.sizes import GiB, MiB

_NAMES = {"cors_origins": origin, "hosts": host_name, "trusted_proxies": proxy_address}
"""Setting → the function that checks and normalizes each of its names."""


class BadSettings(ValueError):
    """Settings are wrong: the message lists each wrong setting, in one line."""


def _default_state() -> Path:
    folder = os.environ.get("XDG_STATE_HOME")
    try:
        return (Path(folder) if folder else Path.home() / ".local" / "state") / "unitrank"
    except RuntimeError as error:
        raise BadSettings(
            "UNITRANK_STATE is not set, and this user has no home folder; set it to a folder for the state"
        ) from error


def _described(error: ErrorDetails) -> str:
    """Return the environment variable, what is wrong with it, and its value."""
    # The name of an alias is a variable already.
    variables = [name if name.isupper() else f"UNITRANK_{name.upper()}" for name in map(str, error["loc"])]
    if error["type"] == "value_error":
        # The message of a validator of this class has the value, unless it may be a password.
        return ": ".join([*variables, error["msg"].removeprefix("Value error, ")])
    message = re.sub(", unable to .*", "", error["msg"]).replace("Input should be", "must be")
    return ": ".join([*variables, f"{message}, not {error['input']!r}"])


class Settings(BaseSettings):
    """The settings of one process. Sizes are in bytes, durations in seconds.

    The environment variable `UNITRANK_<NAME>` sets the field of that name.
    `REDIS_URL` also sets `redis_url`.
    """

    model_config = SettingsConfigDict(env_prefix="UNITRANK_", frozen=True, populate_by_name=True)

    redis_url: str | None = Field(
        None,
        validation_alias=AliasChoices("UNITRANK_REDIS_URL", "REDIS_URL"),
        description="Address of the store. Without it, `unitrank up` starts an embedded server.",
    )
    state: Path = Field(default_factory=_default_state, description="Folder of the embedded server and the blobs.")
    blobs: str | None = Field(
        None, description="fsspec URL of the blob store. Default: the folder `blobs` in the folder `UNITRANK_STATE`."
    )

    quota_bytes: int | None = Field(
        None, gt=0, description="Maximum bytes of all models, datasets and large results together. Default: no limit."
    )
    cache_bytes: int = Field(
        64 * GiB, ge=0, description="Maximum bytes of local copies, when the blob store is not a local folder."
    )

    host: str = Field("127.0.0.1", description="Address that the service listens on.")
    port: int = Field(8000, ge=0, le=65535, description="Port that the service listens on.")
    insecure: bool = Field(False, description="Allow the service to listen on a public address without API keys.")
    hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Host names that requests may use, besides the names of this machine, separated by commas: "
        "`rank.example.org`. Needed behind a proxy that keeps `Host`. "
        "When empty, a service on a public address with keys accepts every name.",
    )
    root_path: str = Field(
        "",
        description="Path prefix of the service behind a proxy, such as `/unitrank`. Requests may have the prefix or not. "
        "When empty, a trusted proxy may send it as `X-Forwarded-Prefix`.",
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        ("127.0.0.1", "::1"),
        validation_alias=AliasChoices("UNITRANK_TRUSTED_PROXIES", "FORWARDED_ALLOW_IPS"),
        description="Addresses and networks of proxies whose `X-Forwarded-*` headers count, separated by commas: `10.0.0.0/8`. "
        "`*` trusts every client.",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Origins whose pages may send requests with a key, separated by commas: `https://app.example.org`. "
        "Default: only the service's own page.",
    )
    log_format: Literal["people", "json"] = Field("people", description="Format of the logs: `people` or `json`.")

    header_timeout: float = Field(20.0, gt=0, description="Seconds that a client may take to send the head of a request.")
    body_timeout: float = Field(
        30.0, gt=0, description="Seconds after which a client that sends less than 1 KiB a second is disconnected."
    )
    max_body_bytes: int = Field(8 * MiB, gt=0, description="Maximum bytes of a JSON body.")
    max_model_bytes: int = Field(8 * GiB, gt=0, description="Maximum bytes of an uploaded model.")
    max_dataset_bytes: int = Field(8 * GiB, gt=0, description="Maximum bytes of a dataset.")
    max_inline_bytes: int = Field(1 * MiB, ge=0, description="Maximum bytes of a dataset inside a job request.")
    sources: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Locations that models and datasets may be read from by URI, separated by commas: "
        "`s3://bucket/sets/,https://data.example.org/`. Default: no location.",
    )
    shard_cache_bytes: int = Field(
        4 * GiB,
        ge=0,
        description="Maximum bytes of shards in an object store that a running job keeps on the local disk of its worker.",
    )
    imports: int = Field(2, ge=1, description="Number of models and datasets that the service reads from URIs at the same time.")
    import_timeout: int = Field(3600, gt=0, description="Maximum seconds to read one model or dataset from a URI.")
    webhook_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Private hosts that webhooks may be sent to, also over http, separated by commas: "
        "`hooks.internal`, `10.0.0.5:8080`, `10.1.0.0/16`.",
    )
    webhook_timeout: float = Field(15.0, gt=0, le=30, description="Maximum seconds of one attempt to deliver a webhook.")
    webhook_attempts: int = Field(
        10, ge=1, le=30, description="Maximum number of attempts to deliver a webhook. 10 attempts take about a day."
    )
    webhook_threads: int = Field(
        4, ge=1, description="Number of webhooks that the service delivers at the same time. One key gets at most half of them."
    )
    redis_result_bytes: int = Field(
        32 * MiB, ge=0, description="Maximum bytes of a result's arrays in Redis. Larger arrays are stored as a blob."
    )
    max_result_bytes: int = Field(
        256 * MiB, gt=0, description="Maximum bytes of a result. A job with a larger result is rejected when it is posted."
    )
    max_shapley_operations: float = Field(
        1e15,
        gt=0,
        description="Maximum floating-point operations of one ranking by Shapley values. A job that needs more is rejected when it "
        "is posted.",
    )
    parts_bytes: int = Field(
        256 * MiB, ge=0, description="Maximum bytes in the store of partial results that later jobs reuse. 0: keep no parts."
    )
    result_ttl: int = Field(24 * 3600, ge=0, description="Seconds that the result of a succeeded job is kept.")
    failure_ttl: int = Field(
        7 * 24 * 3600,
        gt=0,
        description="Seconds that a job that did not succeed is kept, and a succeeded job after its result was deleted.",
    )
    queue_limit: int = Field(
        100_000, ge=0, description="Maximum number of waiting jobs. Further requests to create a job get status 429."
    )
    key_queue_limit: int = Field(
        10_000, ge=0, description="Maximum number of unfinished jobs of one key. A key can have a limit of its own."
    )
    key_waits: int = Field(
        1000, ge=1, description="Maximum number of open responses (`wait` and events) of one key. Further requests get status 429."
    )
    maxmemory: int = Field(1 * GiB, gt=0, description="Maximum bytes of memory of the embedded server.")

    children: int = Field(
        4,
        ge=1,
        description="Maximum number of tenants for which a worker on the CPU keeps a process with loaded models. "
        "A worker on a GPU keeps one.",
    )
    idle_children_bytes: int = Field(
        4 * GiB,
        ge=0,
        description="Maximum resident bytes, between two jobs, of all processes that a worker keeps for its tenants. "
        "Beyond this limit the least recently used processes end; the last process stays.",
    )
    idle_child_bytes: int | None = Field(
        None,
        gt=0,
        description="Resident bytes of one tenant's process beyond which a worker ends the process after a job. "
        "Default: 1 GiB more than `UNITRANK_WARM_MODELS_BYTES`.",
    )
    warm_models: int = Field(64, ge=1, description="Maximum number of models that a worker keeps loaded for one tenant.")
    warm_models_bytes: int = Field(
        2 * GiB, ge=0, description="Maximum bytes of the models that a worker keeps loaded for one tenant."
    )
    child_memory_bytes: int | None = Field(
        None,
        ge=0,
        description="Maximum bytes of memory of a process that computes on the CPU. "
        "Default: three quarters of the machine's or container's memory. 0: no limit.",
    )
    operators: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Operators that models may call besides the built-in list, separated by commas: "
        "`aten.special_bessel_j0.default`. Each operator is native code that runs on untrusted data.",
    )
    confinement: Literal["require", "try", "off"] = Field(
        "try",
        description="Limits the files and system calls of processes that compute (Linux): "
        "`try` limits what the kernel allows, `require` starts no worker without the limits, `off` limits nothing.",
    )
    readable_folders: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Absolute paths of folders that a confined process may read besides Python and its packages, "
        "separated by commas: `/srv/vocabularies`. Needed if an installed architecture reads files there.",
    )
    inspection_timeout: int = Field(300, gt=0, description="Maximum seconds to inspect a model.")
    inspection_cpu: float = Field(
        30.0,
        gt=0,
        description="Maximum seconds of CPU time to inspect a model, of all threads together, "
        "besides those of `UNITRANK_INSPECTION_CPU_PER_MIB`.",
    )
    inspection_cpu_per_mib: float = Field(
        30.0,
        ge=0,
        description="Further seconds of CPU time for each MiB of the upload: "
        "`UNITRANK_INSPECTION_CPU` + `UNITRANK_INSPECTION_CPU_PER_MIB` × MiB is the limit.",
    )
    ray: str | None = Field(
        None,
        description="Address of a Ray cluster that large jobs are divided between: `host:port`, or `auto` for all GPUs "
        "of this machine, or its CPUs if it has no GPU. Default: each job runs in one process.",
    )
    distribute_seconds: float = Field(
        60.0,
        ge=0,
        description="Estimated seconds of a job from which `execution: auto` divides it between the nodes of `UNITRANK_RAY`.",
    )
    heartbeat: float = Field(5.0, gt=0, description="Seconds between two heartbeats of a busy worker.")
    heartbeat_grace: float = Field(
        15.0,
        gt=0,
        description="Seconds without a heartbeat after which a worker counts as lost. Must be more than `UNITRANK_HEARTBEAT`.",
    )
    reaper_interval: float = Field(3.0, gt=0, description="Seconds between two searches of the service for lost jobs.")

    @field_validator(
        "cors_origins", "hosts", "operators", "readable_folders", "sources", "trusted_proxies", "webhook_hosts", mode="before"
    )
    @classmethod
    def _split_at_commas(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("root_path")
    @classmethod
    def _check_root_path(cls, value: str) -> str:
        return path_prefix(value) if value else ""

    @field_validator("readable_folders")
    @classmethod
    def _check_readable_folders(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for folder in value:
            if not Path(folder).is_absolute():
                raise ValueError(f"{folder!r} is not an absolute path; write a path such as /srv/vocabularies")
        return value

    @field_validator(*_NAMES)
    @classmethod
    def _normal_names(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        return tuple(map(_NAMES[info.field_name or ""], value))

    @field_validator("redis_url")
    @classmethod
    def _check_redis_url(cls, value: str | None) -> str | None:
        if value is not None:
            check_address(value)
        return value

    @field_validator("blobs")
    @classmethod
    def _check_blobs(cls, value: str | None) -> str | None:
        protocol, _ = fsspec.core.split_protocol(value or "")
        try:
            fsspec.get_filesystem_class(protocol or "file")
        except ImportError as error:
            raise ValueError(f"the driver of {protocol}:// is not installed: {error}") from error
        return value

    @field_validator("ray")
    @classmethod
    def _check_ray(cls, value: str | None) -> str | None:
        if value is not None and value != "auto" and not re.fullmatch(r"[^:/\s]+:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5}", value):
            raise ValueError(f"{value!r} is not an address of Ray; write host:port, such as 10.0.0.5:6379, or auto")
        return value

    @model_validator(mode="after")
    def _check_heartbeat_grace(self) -> Self:
        if self.heartbeat_grace <= self.heartbeat:
            grace, heartbeat = f"{self.heartbeat_grace:g} s", f"{self.heartbeat:g} s"
            raise ValueError(f"UNITRANK_HEARTBEAT_GRACE is {grace}; it must be more than UNITRANK_HEARTBEAT, {heartbeat}")
        return self

    @classmethod
    def read(cls, **overrides: Any) -> Self:
        """Return the settings of the environment, with `overrides` instead where they are not None.

        Raises BadSettings.
        """
        try:
            return cls(**{name: value for name, value in overrides.items() if value is not None})
        except ValidationError as error:
            raise BadSettings("; ".join(["settings are wrong", *map(_described, error.errors())])) from error

    @property
    def blobs_url(self) -> str:
        """The fsspec URL of the blob store."""
        return self.blobs or (self.state / "blobs").absolute().as_uri()

    def inspection_cpu_seconds(self, size: int) -> float:
        """Return the maximum seconds of CPU time to inspect an upload of `size` bytes."""
        return self.inspection_cpu + self.inspection_cpu_per_mib * size / MiB
