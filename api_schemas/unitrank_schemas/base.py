"""What every schema shares: strict types, no unknown fields, finite numbers, and the names of the contract."""

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, StringConstraints

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
DIGEST = r"sha256:[0-9a-f]{64}"

Name = Annotated[str, StringConstraints(pattern=f"^{NAME}$")]
Digest = Annotated[str, StringConstraints(pattern=f"^{DIGEST}$")]
Reference = Annotated[str, StringConstraints(pattern=f"^{NAME}(@{DIGEST})?$")]
"""A name, or a name with the digest of one exact content."""

Fill = Literal["baseline", "zero", "mean", "resample"]
"""What replaces an ablated unit: h', zero, the mean over the job's examples, its value in one other example."""

Json = dict[str, Any]
"""A JSON object whose fields another schema, or nobody, defines."""

T = TypeVar("T")


class Schema(BaseModel):
    """The base of every schema: what is not named in it is refused, and nothing is converted."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        protected_namespaces=(),
    )


class Page(Schema, Generic[T]):
    """One page of a list; `next` goes into `?after=` for the page behind it."""

    items: list[T]
    next: str | None = None
