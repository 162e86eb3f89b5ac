"""Everything that an operator can set, read from the environment once, where a process begins."""

import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated, Any, Self

import fsspec
import fsspec.core
from pydantic import AliasChoices, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from unitrank_store.redis.connection import connect
from unitrank_tables.sizes import GiB, MiB


def _default_state() -> Path:
    home = os.environ.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local" / "state") / "unitrank"


class BadSettings(ValueError):
    """Each setting that is wrong, in one line."""


class Settings(BaseSettings):
    """Each field is set by `UNITRANK_<NAME>`; the store's address also by `REDIS_URL`. Sizes are bytes, durations seconds."""

    model_config = SettingsConfigDict(env_prefix="UNITRANK_", frozen=True, populate_by_name=True)

    redis_url: str | None = Field(
        None,
        validation_alias=AliasChoices("UNITRANK_REDIS_URL", "REDIS_URL"),
        description="The store's address; without one `unitrank up` starts an embedded server.",
    )
    state: Path = Field(default_factory=_default_state, description="Folder of the embedded server and the blobs.")
    blobs: str | None = Field(None, description="fsspec URL of the blob store; default: the folder `blobs` under `state`.")

    quota_bytes: int | None = Field(
        None, gt=0, description="What models, datasets and large results may take together; default: no limit."
    )
    cache_bytes: int = Field(64 * GiB, ge=0, description="Local copies of contents, where the blob store is elsewhere.")

    host: str = Field("127.0.0.1", description="Address the service listens on.")
    port: int = Field(8000, ge=0, le=65535, description="Port the service listens on.")
    insecure: bool = Field(False, description="Listen on a public address without keys.")
    hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Names that requests may be sent to besides those of this machine, with commas between: "
        "`rank.example.org`. Needed behind a proxy that keeps `Host`; on a public address with keys, none means any.",
    )
    log_format: str = Field("people", pattern="^(people|json)$", description="How logs are written.")

    header_timeout: float = Field(20.0, gt=0, description="How long a client may take for the head of a request.")
    body_timeout: float = Field(30.0, gt=0, description="A client that sends less than 1 KiB a second for so long is hung up on.")
    max_body_bytes: int = Field(8 * MiB, gt=0, description="Largest JSON body.")
    max_model_bytes: int = Field(8 * GiB, gt=0, description="Largest model archive.")
    max_dataset_bytes: int = Field(8 * GiB, gt=0, description="Largest dataset.")
    max_inline_bytes: int = Field(1 * MiB, ge=0, description="Largest dataset inside a job request.")
    sources: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Places that models and datasets may be read from by URI, with commas between: "
        "`s3://bucket/sets/,https://data.example.org/`. None by default.",
    )
    imports: int = Field(2, ge=1, description="Models and datasets that the service reads from elsewhere at once.")
    import_timeout: int = Field(3600, gt=0, description="Longest reading of one model or dataset from elsewhere.")
    webhook_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Hosts that webhooks may be sent to although they are private, over http too, with commas between: "
        "`hooks.internal`, `10.0.0.5:8080`, `10.1.0.0/16`.",
    )
    webhook_timeout: float = Field(15.0, gt=0, le=30, description="Longest attempt to deliver a webhook.")
    webhook_attempts: int = Field(10, ge=1, le=30, description="Attempts to deliver a webhook; 10 take about a day.")
    webhook_threads: int = Field(4, ge=1, description="Webhooks that the service delivers at once; half of them for one key.")
    redis_result_bytes: int = Field(32 * MiB, ge=0, description="Arrays of a result above this lie in the blob store.")
    max_result_bytes: int = Field(256 * MiB, gt=0, description="Largest result; a larger one is refused when the job is posted.")
    parts_bytes: int = Field(
        256 * MiB, ge=0, description="Parts of results that later jobs may reuse, in the store's memory; 0: none are kept."
    )
    result_ttl: int = Field(24 * 3600, ge=0, description="How long a finished job and its result are kept.")
    failure_ttl: int = Field(7 * 24 * 3600, gt=0, description="How long a job that did not succeed is kept.")
    queue_limit: int = Field(100_000, ge=0, description="Jobs that may wait; beyond it POST answers 429.")
    key_queue_limit: int = Field(
        10_000, ge=0, description="Jobs of one key that may be unfinished, unless the key has a limit of its own."
    )
    key_waits: int = Field(1000, ge=1, description="Answers held for one key at once, `wait` and events; beyond it 429.")
    maxmemory: int = Field(1 * GiB, gt=0, description="Memory limit of the embedded server.")

    warm_models_bytes: int = Field(2 * GiB, ge=0, description="Models a worker keeps ready between jobs.")
    child_memory_bytes: int | None = Field(
        None,
        ge=0,
        description="Memory of a process that computes on the processor; default: three quarters of what there is; 0: no limit.",
    )
    operators: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Operators that models may call beside the service's own list, with commas between: `aten.histc.default`. "
        "Each is native code that runs on what strangers send.",
    )
    inspection_timeout: int = Field(300, gt=0, description="Longest inspection of a model.")
    heartbeat: float = Field(5.0, gt=0, description="How often a busy worker says that it is alive.")
    heartbeat_grace: float = Field(15.0, gt=0, description="A worker that is silent for so long is lost; some of `heartbeat`.")
    reaper_interval: float = Field(3.0, gt=0, description="How often the service looks for what was lost.")

    @field_validator("hosts", "operators", "sources", "webhook_hosts", mode="before")
    @classmethod
    def _separated(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("hosts")
    @classmethod
    def _names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(_host, value))

    @field_validator("redis_url")
    @classmethod
    def _store(cls, value: str | None) -> str | None:
        try:
            connect(value or "redis://").close()
        except ValueError:
            # Not what was found wrong with it: a part of the password may be in that.
            raise ValueError(
                "no address of a store, such as redis://:password@host:6379/0; in a password write / as %2F and # as %23"
            ) from None
        return value

    @field_validator("blobs")
    @classmethod
    def _place(cls, value: str | None) -> str | None:
        protocol, _ = fsspec.core.split_protocol(value or "")
        try:
            fsspec.get_filesystem_class(protocol or "file")
        except ImportError as error:
            raise ValueError(f"the driver of {protocol}:// is not installed: {error}") from error
        return value

    @model_validator(mode="after")
    def _beats_in_time(self) -> Self:
        if self.heartbeat_grace <= self.heartbeat:
            raise ValueError(f"heartbeat_grace must be more than heartbeat, {self.heartbeat:g} s")
        return self

    @classmethod
    def read(cls, **given: Any) -> Self:
        """The given ones, else those of the environment; None is not given. Raises BadSettings."""
        try:
            return cls(**{name: value for name, value in given.items() if value is not None})
        except ValidationError as error:
            wrong = [": ".join([*map(str, part["loc"]), part["msg"].removeprefix("Value error, ")]) for part in error.errors()]
            raise BadSettings("; ".join(["settings are wrong", *wrong])) from error

    @property
    def blobs_url(self) -> str:
        return self.blobs or (self.state / "blobs").absolute().as_uri()


def _host(name: str) -> str:
    """As a request's `Host` has it. Raises ValueError."""
    try:
        address = ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        plain = name.lower().removesuffix(".")
        if not re.fullmatch(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*", plain):
            raise ValueError(f"{name!r} is no name of a host; write it without scheme and port: rank.example.org") from None
        return plain
    return f"[{address}]" if address.version == 6 else str(address)
