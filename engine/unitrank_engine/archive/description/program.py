"""The schema of an exported program's description, the entry `models/model.json`.

The schema follows torch/_export/serde/schema.py, version 8. A field with `exclude` is accepted in
an upload and left out of the clean archive: it is not used, or torch would execute it
(`guards_code`).
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError

from unitrank_engine.archive.description.containers import check_inputs, check_outputs
from unitrank_engine.archive.description.expressions import check_symbol
from unitrank_engine.archive.description.graph import Graph, GraphValue, TensorName
from unitrank_engine.archive.description.names import ArchiveSchema, Identifier, Items, Path
from unitrank_engine.archive.description.payloads import Payloads
from unitrank_engine.archive.description.regions import without_regions
from unitrank_engine.archive.description.tensors import Integer, OneOf
from unitrank_engine.archive.errors import ArchiveError, Code, escaped

SCHEMA_MAJOR = 8

_MAX_ERRORS = 1000


class _UserValue(ArchiveSchema):
    arg: GraphValue


class _Parameter(ArchiveSchema):
    arg: TensorName
    parameter_name: Path


class _Buffer(ArchiveSchema):
    arg: TensorName
    buffer_name: Path
    persistent: bool


class _Constant(ArchiveSchema):
    arg: TensorName
    tensor_constant_name: Path


class _LiteralInput(ArchiveSchema):
    name: Identifier
    value: GraphValue


class _Input(OneOf):
    """The origin of an input of the graph: a user's argument, or a tensor that the model keeps."""

    user_input: _UserValue | None = None
    parameter: _Parameter | None = None
    buffer: _Buffer | None = None
    tensor_constant: _Constant | None = None
    constant_input: _LiteralInput | None = None


class _BufferMutation(ArchiveSchema):
    arg: TensorName
    buffer_name: Path


class _InputMutation(ArchiveSchema):
    arg: TensorName
    user_input_name: Identifier


class _Output(OneOf):
    """The use of an output of the graph: a result, or the new value of a buffer or an argument."""

    user_output: _UserValue | None = None
    buffer_mutation: _BufferMutation | None = None
    user_input_mutation: _InputMutation | None = None


class _Signature(ArchiveSchema):
    """The origin of each input of the graph, and the use of each output, in order."""

    input_specs: Items[_Input]
    output_specs: Items[_Output]


class _CallSignature(ArchiveSchema):
    """The inputs and outputs of a module call.

    `in_spec`, `out_spec`: how they are nested.
    """

    inputs: Items[GraphValue]
    outputs: Items[GraphValue]
    in_spec: Annotated[str, AfterValidator(check_inputs)]
    out_spec: Annotated[str, AfterValidator(check_outputs)]
    forward_arg_names: Items[Identifier] | None = None


class _ModuleCall(ArchiveSchema):
    fqn: str
    signature: _CallSignature | None = None


# Signatures of inner modules are dropped, because the engine calls the whole network only.
def _only_root(calls: list[_ModuleCall]) -> list[_ModuleCall]:
    root = [call for call in calls if call.fqn == "" and call.signature is not None]
    count = len(root)
    if count != 1:
        raise ArchiveError("program_refused", f"the program has {count} signatures of the whole network; expected one")
    return root


class _GraphModule(ArchiveSchema):
    graph: Annotated[Graph, AfterValidator(without_regions)]
    signature: _Signature
    module_call_graph: Annotated[Items[_ModuleCall], AfterValidator(_only_root)]
    metadata: dict[str, str] = Field(default={}, exclude=True)
    treespec_namedtuple_fields: dict[str, object] = Field(default={}, exclude=True)


class _Range(ArchiveSchema):
    min_val: Integer | None
    max_val: Integer | None


def _supported(major: int) -> int:
    if major != SCHEMA_MAJOR:
        raise ArchiveError(
            "schema_version",
            f"the program has the schema version {escaped(major)}; expected {SCHEMA_MAJOR}: export it with torch 2.11 to 2.13",
        )
    return major


class _Version(ArchiveSchema):
    major: Annotated[int, AfterValidator(_supported)]
    minor: Annotated[int, Field(ge=0, lt=1 << 16)]


class _Opsets(ArchiveSchema):
    aten: Annotated[int, Field(ge=0, lt=1 << 16)]


class CleanProgram(ArchiveSchema):
    """The parts of `models/model.json` that the clean archive keeps.

    `range_constraints`: the smallest and the largest value of each symbol.
    """

    schema_version: _Version
    graph_module: _GraphModule
    opset_version: _Opsets
    range_constraints: dict[Annotated[str, AfterValidator(check_symbol)], _Range]
    verifiers: Items[Literal["TRAINING", "ATEN"]] = Field(default=[])
    torch_version: str = Field(default="", exclude=True)
    guards_code: Items[str] = Field(default=[], exclude=True)


def read_program(text: bytes) -> CleanProgram:
    """The program that the text of `models/model.json` describes. Raises ArchiveError."""
    try:
        return CleanProgram.model_validate_json(text)
    except ValidationError as error:
        raise _refusal("models/model.json", error) from error


def read_payloads(name: str, text: bytes) -> Payloads:
    """The tensors that the text of the entry `name` lists. Raises ArchiveError."""
    try:
        return Payloads.model_validate_json(text)
    except ValidationError as error:
        raise _refusal(name, error) from error


def _refusal(name: str, error: ValidationError) -> ArchiveError:
    count = error.error_count()
    if count > _MAX_ERRORS:
        # pydantic builds the texts of all errors even when one is read.
        return ArchiveError(
            "program_refused", f"{name}: {count} values are invalid; expected the JSON that torch.export.save writes"
        )
    first = error.errors(include_url=False, include_context=False)[0]
    where, fault, value = escaped(".".join(map(str, first["loc"]))), first["msg"], escaped(first["input"])
    code: Code = "archive_too_large" if first["type"] == "too_long" else "program_refused"
    return ArchiveError(code, f"{name}, at {where}: {fault}; got {value}, expected the JSON that torch.export.save writes")
