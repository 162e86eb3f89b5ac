"""Attacks on the reader of the program's description, and on torch, which loads the program."""

import json
from collections.abc import Callable
from typing import Any

import torch

from tests.attacks.attack import Attack, changing, packed
from tests.engine.archive.forging import Entries, edited

PROGRAM = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"
Json = dict[str, Any]


def program(change: Callable[[Json], object], code: str) -> Attack:
    """An archive whose description of the program `change` changes."""

    def forge(entries: Entries, _: str) -> None:
        with edited(entries) as document:
            change(document)

    return changing(forge, code)


def graph(change: Callable[[Json], object], code: str = "program_refused") -> Attack:
    return program(lambda document: change(document["graph_module"]["graph"]), code)


def weight(change: Json, code: str = "weights_refused") -> Attack:
    """An archive in which a weight has a wrong shape, type or offset."""

    def forge(entries: Entries, _: str) -> None:
        with edited(entries, WEIGHTS) as document:
            document["config"]["norm.bias"]["tensor_meta"].update(change)

    return changing(forge, code)


def text(replace: Callable[[bytes], bytes], code: str = "program_refused") -> Attack:
    """An archive whose description is replaced by other bytes."""

    def make(entries: Entries, _: str) -> bytes:
        return packed(entries | {PROGRAM: replace(entries[PROGRAM])})

    return Attack(make, code)


def flood(place: str, unit: str, code: str, size: int) -> Attack:
    """An archive with about `size` bytes of small values at one place of the description."""

    def make(entries: Entries, _: str) -> bytes:
        many = ",".join(unit.replace("#", f"{number:x}") for number in range(size // (len(unit) + 6)))
        return packed(entries | {PROGRAM: entries[PROGRAM].replace(place.encode(), f"{place}{many},".encode(), 1)})

    return Attack(make, code)


def operator(target: str) -> Attack:
    return graph(lambda document: document["nodes"][0].update(target=target), "operator_refused")


def size(expression: str) -> Attack:
    def change(document: Json) -> None:
        document["tensor_values"]["x"]["sizes"][0]["as_expr"]["expr_str"] = expression

    return graph(change, "expression_refused")


def call(target: str, code: str, **arguments: Json) -> Attack:
    """An archive whose program first calls an accepted operator on a constant of two numbers.

    The other nodes take the result instead of the constant: unused nodes are removed unread.
    """

    def change(document: Json) -> None:
        document["tensor_values"]["more"] = document["tensor_values"]["c_shift"]
        for argument in (argument for node in document["nodes"] for argument in node["inputs"]):
            if argument["arg"] == tensor("c_shift"):
                argument["arg"] = tensor("more")
        schema = getattr(getattr(torch.ops.aten, target.split(".")[0]), target.split(".")[1])._schema
        inputs = [{"name": schema.arguments[0].name, "arg": tensor("c_shift"), "kind": 1}]
        inputs += [{"name": name, "arg": value, "kind": 2} for name, value in arguments.items()]
        node = {"target": f"torch.ops.aten.{target}", "inputs": inputs, "outputs": [tensor("more")], "metadata": {}, "name": "more"}
        document["nodes"].insert(0, node | {"is_hop_single_tensor_return": None})

    return graph(change, code)


def tensor(name: str) -> Json:
    return {"as_tensor": {"name": name}}


def parameter(name: str) -> Attack:
    def change(document: Json) -> None:
        document["graph_module"]["signature"]["input_specs"][0]["parameter"]["parameter_name"] = name

    return program(change, "program_refused")


def value(name: str) -> Attack:
    return graph(lambda document: document["inputs"][-1]["as_tensor"].update(name=name))


def argument(value: object, code: str = "program_refused") -> Attack:
    return graph(lambda document: document["nodes"][0]["inputs"][0].update(arg=value), code)


def container(spec: Json, field: str = "out_spec", code: str = "container_refused") -> Attack:
    def change(document: Json) -> None:
        document["graph_module"]["module_call_graph"][0]["signature"][field] = json.dumps([1, spec])

    return program(change, code)


def inside(depth: int) -> Json:
    spec: Json = {"type": None, "context": None, "children_spec": []}
    for _ in range(depth):
        spec = {"type": "builtins.tuple", "context": "null", "children_spec": [spec]}
    return spec


def duplicated(entries: Entries, _: str) -> bytes:
    """A key occurs twice: some readers take the first value, others the last.

    Only the last value names an operator that is not accepted.
    """
    content = entries[PROGRAM].replace(b'"target": "torch.ops', b'"target": "torch.ops.aten.relu.default", "target": "torch.os', 1)
    return packed(entries | {PROGRAM: content})


def moved_weight(path: str, code: str) -> Attack:
    def forge(entries: Entries, _: str) -> None:
        with edited(entries, WEIGHTS) as document:
            document["config"]["norm.bias"]["path_name"] = path

    return changing(forge, code)


def empty_weight(entries: Entries, _: str) -> None:
    """For an empty entry, torch would allocate zeros of any claimed size."""
    with edited(entries, WEIGHTS) as document:
        record = document["config"]["norm.bias"]["path_name"]
    entries[f"data/weights/{record}"] = b""


LEAF: Json = {"type": None, "context": None, "children_spec": []}
SUM = "Add(" + ",".join(f"Symbol('s{number}')" for number in range(40)) + ")"
MiB = 1 << 20

PROGRAMS: dict[str, Attack] = {
    "schema_of_the_future": program(lambda document: document["schema_version"].update(major=9), "schema_version"),
    "schema_of_the_past": program(lambda document: document["schema_version"].update(major=-1), "schema_version"),
    "no_schema_version": program(lambda document: document.pop("schema_version"), "program_refused"),
    "unknown_field": program(lambda document: document.update(evil=1), "program_refused"),
    "operator_empty": operator("torch.ops.aten.empty_strided.default"),
    "operator_set": operator("torch.ops.aten.set_.source_Tensor"),
    "operator_resize": operator("torch.ops.aten.resize_.default"),
    "operator_strided": operator("torch.ops.aten.as_strided.default"),
    "operator_unsafe": operator("torch.ops.aten._unsafe_index.Tensor"),
    "operator_random": operator("torch.ops.aten.rand.default"),
    "operator_data_sized": operator("torch.ops.aten.nonzero.default"),
    "operator_beyond_bounds": operator("torch.ops.aten._upsample_bilinear2d_aa.default"),
    "operator_higher_order": operator("torch.ops.higher_order.cond"),
    "operator_custom": operator("torch.ops.mine.operator.default"),
    "operator_of_python": operator("_operator.attrgetter"),
    "operator_os": operator("torch.os.system"),
    "operator_load": operator("torch.load"),
    "operator_loader": operator("math.__loader__.load_module"),
    "operator_namespace": operator("#namespace:operator"),
    "argument_graph": argument({"as_graph": {"name": "g", "graph": {}}}),
    "argument_operator": argument({"as_operator": "torch.os.system"}),
    "argument_object": argument({"as_custom_obj": {"name": "o", "class_fqn": "c"}}),
    "argument_of_two_kinds": argument({"as_int": 1, "as_bool": True}),
    "argument_beyond_64_bits": argument({"as_int": 1 << 63}),
    "expression_attribute": size("Symbol('s77').__class__"),
    "expression_lambda": size("Lambda(Symbol('s1'), Integer(1))"),
    "expression_tower": size("Pow(Integer(9), Pow(Integer(9), Integer(9)))"),
    "expression_deep": size("Add(" * 400 + "Integer(1)" + ")" * 400),
    # sympy would expand this to 300 million terms.
    "expression_multiplied_out": size(f"FloorDiv(Pow({SUM},Integer(8)),Pow(Add(Symbol('s1'),Symbol('s2')),Integer(7)))"),
    "expression_products": size("Mod(Mul(" + ",".join(["Add(Symbol('s1'),Symbol('s2'),Integer(3))"] * 30) + "),Symbol('s3'))"),
    # torch accepts the number of a type, and uses it as an index into a table.
    "type_as_number": call("to.dtype", "program_refused", dtype={"as_int": (1 << 63) - 1}),
    "type_below_zero": call("zeros_like.default", "program_refused", dtype={"as_int": -1}),
    "memory_format_as_number": call("zeros_like.default", "program_refused", memory_format={"as_int": 4}),
    "scale_of_nothing": call(
        "upsample_nearest1d.default", "program_refused", output_size={"as_ints": [9]}, scales={"as_float": 1e-300}
    ),
    "scales_of_nothing": call(
        "upsample_nearest2d.vec", "program_refused", output_size={"as_none": True}, scale_factors={"as_floats": [1.0, 5e-324]}
    ),
    "value_with_code": value("x = open('x')"),
    "value_keyword": value("lambda"),
    "value_with_newline": value("x\n"),
    "value_that_is_missing": argument({"as_tensor": {"name": "missing"}}, "not_loadable"),
    "parameter_dunder": parameter("a.__class__"),
    "parameter_with_code": parameter('a").x'),
    "container_of_a_class": container({**LEAF, "type": "evil.Output", "context": '["a"]'}),
    "container_of_an_enum": container({**LEAF, "type": "builtins.dict", "context": '[{"__enum__": true, "fqn": "evil:E"}]'}),
    "container_default_dict": container({**LEAF, "type": "collections.defaultdict", "context": '{"default_factory_module": "os"}'}),
    "container_deep": container(inside(40)),
    "container_deeper": container(inside(100)),
    "container_endless": container({**inside(1), "children_spec": [LEAF] * 40_000}),
    "container_of_inputs": container(LEAF, "in_spec"),
    "json_deep": text(lambda _: b"[" * 1_000_000, "program_refused"),
    "json_deep_objects": text(lambda _: b'{"graph_module":' * 100_000),
    "json_not_utf8": text(lambda content: content.replace(b"conv", b"c\xff\xfe", 1)),
    "json_surrogate": text(lambda content: content.replace(b"conv", b"\\ud800", 1)),
    "json_not_a_number": text(lambda content: content.replace(b'"as_int": 1}', b'"as_int": NaN}', 1)),
    "json_infinite": text(lambda content: content.replace(b'"as_int": 1}', b'"as_int": 1e999}', 1)),
    "json_long_number": text(lambda content: content.replace(b'"as_int": 1}', b'"as_int": ' + b"9" * 100_000 + b"}", 1)),
    "json_duplicate_key": Attack(duplicated, "operator_refused"),
    "json_empty": text(lambda _: b""),
    "json_with_a_tail": text(lambda content: content + b"{}"),
    "json_too_long": text(lambda content: content + b" " * (33 * MiB), "archive_too_large"),
    "json_flood": flood('"nodes": [', "[]", "archive_too_large", 32 * MiB),
    "json_flood_of_errors": flood('"nodes": [', "0", "program_refused", 8 * MiB),
    "json_flood_of_wrong_values": flood('"tensor_values": {', '"a#":1', "program_refused", 2 * MiB),
    "json_flood_of_fields": flood('"graph": {', '"a#":1', "program_refused", 2 * MiB),
    "weight_past_its_bytes": weight({"storage_offset": {"as_int": 1}}),
    "weight_with_a_stride_past_its_bytes": weight({"sizes": [{"as_int": 2}], "strides": [{"as_int": 1000}]}),
    "weight_with_a_negative_stride": weight({"strides": [{"as_int": -1}]}, "program_refused"),
    "weight_with_a_negative_offset": weight({"storage_offset": {"as_int": -4}}, "program_refused"),
    "weight_of_a_terabyte": weight({"sizes": [{"as_int": 10**12}], "strides": [{"as_int": 0}]}),
    "weight_of_many_axes": weight({"sizes": [{"as_int": 1}] * 65, "strides": [{"as_int": 1}] * 65}, "archive_too_large"),
    "weight_whose_size_overflows": weight({"sizes": [{"as_int": 1 << 33}] * 2, "strides": [{"as_int": 0}] * 2}),
    "weight_of_nothing_by_much": weight({"sizes": [{"as_int": 0}] + [{"as_int": (1 << 47)}] * 3, "strides": [{"as_int": 1}] * 4}),
    "weight_of_another_type": weight({"dtype": 8}),
    "weight_complex": weight({"dtype": 10}),
    "weight_sparse": weight({"layout": 1}, "program_refused"),
    "weight_elsewhere": moved_weight("../../models/model.json", "pickle_refused"),
    "weight_that_is_missing": moved_weight("weight_900", "not_an_archive"),
    "weight_without_bytes": changing(empty_weight, "weights_refused"),
    "gigantic_shape": graph(
        lambda document: document["tensor_values"]["x"].update(sizes=[{"as_int": 2**62}] * 8, strides=[{"as_int": 2**62}] * 8),
        "not_loadable",
    ),
    "two_signatures": program(lambda document: document["graph_module"]["module_call_graph"].clear(), "program_refused"),
}
