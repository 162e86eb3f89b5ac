"""Schemas of a program's graph: its values, and the nodes that call allowed operators on them."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from unitrank_engine.archive.description.names import ArchiveSchema, Identifier, Items, check_module_stack
from unitrank_engine.archive.description.operators import check_operator
from unitrank_engine.archive.description.tensors import (
    Device,
    DType,
    Integer,
    Layout,
    OneOf,
    Real,
    SymBool,
    SymFloat,
    SymInt,
    TensorMeta,
)
from unitrank_engine.archive.errors import ArchiveError, escaped

MAX_NODES = 50_000


class TensorName(ArchiveSchema):
    """A tensor of the graph, by its name."""

    name: Identifier


# An argument that is an integer: a number, or the name of a value that the graph computes. The next
# classes are the same for other types.
class _IntName(OneOf):
    as_name: Identifier | None = None
    as_int: Integer | None = None


class _FloatName(OneOf):
    as_name: Identifier | None = None
    as_float: Real | None = None


class _BoolName(OneOf):
    as_name: Identifier | None = None
    as_bool: bool | None = None


class _Complex(ArchiveSchema):
    real: Real
    imag: Real


class _OptionalTensor(OneOf):
    as_tensor: TensorName | None = None
    as_none: bool | None = None


class GraphValue(OneOf):
    """An input or output of the whole graph."""

    as_none: bool | None = None
    as_tensor: TensorName | None = None
    as_int: Integer | None = None
    as_float: Real | None = None
    # torch writes constant strings between quotes into the code that checks the inputs.
    as_string: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{0,100}$")] | None = None
    as_bool: bool | None = None
    as_sym_int: _IntName | None = None
    as_sym_float: _FloatName | None = None
    as_sym_bool: _BoolName | None = None


class Argument(OneOf):
    """An argument of a node.

    Objects, operators and pickles have no field here and are therefore refused. `regions` accepts a
    graph for a region without gradients only.
    """

    as_none: bool | None = None
    as_tensor: TensorName | None = None
    as_tensors: Items[TensorName] | None = None
    as_int: Integer | None = None
    as_ints: Items[Integer] | None = None
    as_float: Real | None = None
    as_floats: Items[Real] | None = None
    as_complex: _Complex | None = None
    as_string: str | None = None
    as_sym_int: _IntName | None = None
    as_sym_ints: Items[_IntName] | None = None
    as_scalar_type: DType | None = None
    as_memory_format: Literal[1, 2, 3, 4] | None = None
    as_layout: Layout | None = None
    as_device: Device | None = None
    as_bool: bool | None = None
    as_bools: Items[bool] | None = None
    as_sym_bool: _BoolName | None = None
    as_sym_bools: Items[_BoolName] | None = None
    as_optional_tensors: Items[_OptionalTensor] | None = None
    as_optional_tensor: _OptionalTensor | None = None
    as_sym_float: _FloatName | None = None
    as_sym_floats: Items[_FloatName] | None = None
    as_graph: "_NamedGraph | None" = None


class NamedArgument(ArchiveSchema):
    """An argument of a node, and its name in the operator's schema."""

    name: Annotated[str, Field(pattern=r"^[a-z_A-Z0-9]{0,64}$")]
    arg: Argument
    kind: Literal[1, 2] | None = None


def _only_module_stack(metadata: dict[str, str]) -> dict[str, str]:
    # nn_module_stack names the layer of a node. Other metadata, such as stack traces, reveals paths
    # of the user's machine and makes the bytes of equal programs differ.
    kept = {key: text for key, text in metadata.items() if key == "nn_module_stack"}
    for text in kept.values():
        check_module_stack(text)
    return kept


class Node(ArchiveSchema):
    """A call of an operator.

    `target`: the operator.
    `inputs`: the arguments of the call.
    `outputs`: the names of its results.
    """

    target: Annotated[str, AfterValidator(check_operator)]
    inputs: Items[NamedArgument]
    outputs: Items[Argument]
    metadata: Annotated[dict[str, str], AfterValidator(_only_module_stack)]
    is_hop_single_tensor_return: bool | None = None
    name: Identifier | None = None


def _no_objects(values: dict[str, object]) -> dict[str, object]:
    if values:
        name = escaped(next(iter(values)))
        raise ArchiveError("pickle_refused", f"the program holds script objects, such as {name}; only tensors may be constants")
    return values


class Graph(ArchiveSchema):
    """The graph of a program.

    `nodes`: the calls in order of execution.
    `tensor_values`: the type and shape of each tensor, by name.
    `sym_int_values`, `sym_bool_values`, `sym_float_values`: the other values, by name.
    """

    inputs: Items[GraphValue]
    outputs: Items[GraphValue]
    nodes: Annotated[Items[Node], Field(max_length=MAX_NODES)]
    tensor_values: dict[Identifier, TensorMeta]
    sym_int_values: dict[Identifier, SymInt]
    sym_bool_values: dict[Identifier, SymBool]
    is_single_tensor_return: Literal[False] = False
    custom_obj_values: Annotated[dict[str, object], AfterValidator(_no_objects)] = Field(default={}, exclude=True)
    sym_float_values: dict[Identifier, SymFloat] = Field(default={})


class _NamedGraph(ArchiveSchema):
    name: Identifier
    graph: Graph


def names_of(value: ArchiveSchema) -> Iterator[str]:
    """The names of the values that an argument or a result consists of."""
    if isinstance(value, TensorName):
        yield value.name
        return
    for field in value.model_fields_set:
        content = getattr(value, field)
        if field == "as_name":
            yield content
        for part in content if isinstance(content, list) else [content]:
            if isinstance(part, ArchiveSchema):
                yield from names_of(part)
