"""Schemas of a tensor's description: element type, shape, strides and device."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from unitrank_engine.archive.description.expressions import check_expression
from unitrank_engine.archive.description.names import ArchiveSchema, Items

# Numbers of torch._export.serde.schema.ScalarType, and bytes per element:
# uint8, int8, int16, int32, int64, float16, float32, float64, complex64, complex128, bool,
# bfloat16.
ITEM_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 2, 7: 4, 8: 8, 10: 8, 11: 16, 12: 1, 13: 2}

DType = Literal[1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13]
Layout = Literal[7]  # strided
Integer = Annotated[int, Field(ge=-(1 << 63), lt=1 << 63)]
# JSON has no numbers for infinity and NaN, so torch writes them as words.
Real = float | Literal["Infinity", "-Infinity", "NaN"]


class OneOf(ArchiveSchema):
    """A value of one of several kinds: exactly one field is set."""

    @model_validator(mode="after")
    def _one(self) -> "OneOf":
        if len(self.model_fields_set) != 1 or getattr(self, next(iter(self.model_fields_set))) is None:
            raise ValueError("expected exactly one kind of value, which is not null")
        return self


class Hint(OneOf):
    """The value that a symbolic expression had for the example inputs of the export."""

    as_int: Integer | None = None
    as_bool: bool | None = None
    as_float: Real | None = None


class Expression(ArchiveSchema):
    """A symbolic value: arithmetic on symbols, as text."""

    expr_str: Annotated[str, AfterValidator(check_expression)]
    hint: Hint | None = None


class SymInt(OneOf):
    """An integer, fixed or symbolic, such as the size of an axis."""

    as_expr: Expression | None = None
    as_int: Integer | None = None


class SymFloat(OneOf):
    """A real number, fixed or symbolic."""

    as_expr: Expression | None = None
    as_float: Real | None = None


class SymBool(OneOf):
    """A truth value, fixed or symbolic."""

    as_expr: Expression | None = None
    as_bool: bool | None = None


class Device(ArchiveSchema):
    """Always the CPU in the clean archive. The engine moves the program to its own device."""

    type: Annotated[Literal["cpu", "cuda", "mps", "xpu"], AfterValidator(lambda _: "cpu")]
    index: Annotated[int | None, AfterValidator(lambda _: None)] = None


class TensorMeta(ArchiveSchema):
    """A tensor inside the program; its sizes may be symbolic."""

    dtype: DType
    sizes: Annotated[Items[SymInt], Field(max_length=64)]
    requires_grad: bool
    device: Device
    strides: Annotated[Items[SymInt], Field(max_length=64)]
    storage_offset: SymInt
    layout: Layout
