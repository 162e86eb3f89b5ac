"""The base class of all schemas, and the types that many schemas use."""

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
DIGEST = r"sha256:[0-9a-f]{64}"

Name = Annotated[str, StringConstraints(pattern=f"^{NAME}$")]
Digest = Annotated[str, StringConstraints(pattern=f"^{DIGEST}$")]
Reference = Annotated[str, StringConstraints(pattern=f"^{NAME}(@{DIGEST})?$")]
"""`name`, or `name@sha256:…` for one exact content."""

Fill = Literal["baseline", "zero", "mean", "resample"]
"""The value that replaces an ablated unit."""
FILL = (
    "The value that replaces a unit. `baseline`: h′; `zero`: 0; `mean`: the mean over the job's examples; `resample`: the value "
    "in another example."
)
"""The description of fields of this type."""

Json = dict[str, Any]
"""A JSON object without a schema in this package."""

T = TypeVar("T")


class Schema(BaseModel):
    """The base of all schemas: it rejects unknown fields, other types, NaN and infinity."""

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
    """One page of a list."""

    items: list[T]
    next: str | None = Field(None, description="Send it as `?after=` to get the next page; null on the last page.")
