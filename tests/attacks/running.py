"""Forged archives that make `torch.export.load`, or the loaded program, run code.

The code creates a marker file. Each function changes the entries of a valid archive and takes the
path of the marker. All of them use only features of the file formats.
"""

import builtins
import io
import json
import pickle
from typing import Any

import torch

from tests.attacks.attack import Attack, changing
from tests.engine.archive.forging import Entries, edited

WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"


class Payload:
    """An object that creates the marker file when it is unpickled."""

    def __init__(self, marker: str) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return builtins.open, (self.marker, "w")


def pickled(marker: str) -> bytes:
    buffer = io.BytesIO()
    torch.save(Payload(marker), buffer)
    return buffer.getvalue()


def example_inputs(entries: Entries, marker: str) -> None:
    """torch first tries `weights_only`, and then unpickles everything."""
    entries["data/sample_inputs/model.pt"] = pickled(marker)


def pickled_weight(entries: Entries, marker: str) -> None:
    with edited(entries, WEIGHTS) as weights:
        weights["config"]["conv.weight"]["use_pickle"] = True
        record = weights["config"]["conv.weight"]["path_name"]
    entries[f"data/weights/{record}"] = pickled(marker)


def pickled_constant(entries: Entries, marker: str) -> None:
    with edited(entries, CONSTANTS) as constants:
        constants["config"]["shift"]["use_pickle"] = True
        record = constants["config"]["shift"]["path_name"]
    entries[f"data/constants/{record}"] = pickled(marker)


def legacy_weights(entries: Entries, marker: str) -> None:
    entries["data/weights/model.pt"] = pickled(marker)


def legacy_constants(entries: Entries, marker: str) -> None:
    entries["data/constants/model.pt"] = pickled(marker)


def opaque_constant(entries: Entries, marker: str) -> None:
    with edited(entries, CONSTANTS) as constants:
        constants["config"]["shift"].update(path_name="opaque_obj_0", use_pickle=True, tensor_meta=None)
    entries["data/constants/opaque_obj_0"] = pickle.dumps(Payload(marker))


def symbolic_size(entries: Entries, marker: str) -> None:
    """torch passes the text to sympify, which evaluates it."""
    with edited(entries) as program:
        size = program["graph_module"]["graph"]["tensor_values"]["x"]["sizes"][0]
        size["as_expr"]["expr_str"] = f"__import__('builtins').open({marker!r}, 'w') and Symbol('s77', integer=True)"


def tree_spec(entries: Entries, marker: str) -> None:
    """torch imports an enum of a container by its name: the test has a module `evil`."""
    context = json.dumps({"__enum__": True, "fqn": "evil:Colour", "name": "RED"})
    spec = {"type": "builtins.tuple", "context": context, "children_spec": []}
    with edited(entries) as program:
        program["graph_module"]["module_call_graph"][0]["signature"]["out_spec"] = json.dumps([1, spec])


def guards_code(entries: Entries, marker: str) -> None:
    with edited(entries) as program:
        program["guards_code"] = [f"open({marker!r}, 'w')"]


def from_file(entries: Entries, marker: str) -> None:
    """The operator maps a file of the host; with `shared` it creates one."""
    with edited(entries) as program:
        graph = program["graph_module"]["graph"]
        graph["tensor_values"]["stolen"] = graph["tensor_values"]["c_shift"]
        arguments = {"filename": {"as_string": marker}, "shared": {"as_bool": True}, "size": {"as_int": 8}}
        node = {
            "target": "torch.ops.aten.from_file.default",
            "inputs": [{"name": name, "arg": arg, "kind": 1} for name, arg in arguments.items()],
            "outputs": [{"as_tensor": {"name": "stolen"}}],
            "metadata": {},
            "is_hop_single_tensor_return": None,
            "name": "stolen",
        }
        graph["nodes"].insert(0, node)


def constant_string(entries: Entries, marker: str) -> None:
    """torch puts a constant input between quotes into the code that it generates to check inputs.

    It generates that code only if the archive has example inputs.
    """
    text = {"as_string": f"' or open({marker!r}, 'w') or '"}
    leaf: dict[str, Any] = {"type": None, "context": None, "children_spec": []}
    with edited(entries) as program:
        module = program["graph_module"]
        module["graph"]["inputs"].append(text)
        module["signature"]["input_specs"].append({"constant_input": {"name": "mode", "value": text}})
        signature = module["module_call_graph"][0]["signature"]
        signature["forward_arg_names"] = ["x", "mode"]
        version, spec = json.loads(signature["in_spec"])
        spec["children_spec"][0]["children_spec"].append(leaf)
        signature["in_spec"] = json.dumps([version, spec])
    # The example of the valid archive has only one input.
    buffer = io.BytesIO()
    torch.save(((torch.ones(2, 1, 4, 4), "mode"), {}), buffer)
    entries["data/sample_inputs/model.pt"] = buffer.getvalue()


def argument_name(entries: Entries, marker: str) -> None:
    """torch puts the names of arguments into generated code twice.

    The second occurrence closes the string that the first one opens.
    """
    name = f"x):\n  0\nopen({marker!r}, 'w')\n'''\ndef rest(self):\n    0 #"
    with edited(entries) as program:
        program["graph_module"]["module_call_graph"][0]["signature"]["forward_arg_names"] = [name]


def keyword_name(entries: Entries, marker: str) -> None:
    """torch puts the names of keyword arguments into generated code, too."""
    leaf: dict[str, Any] = {"type": None, "context": None, "children_spec": []}
    keywords = {
        "type": "builtins.dict",
        "context": json.dumps([f"': open({marker!r}, 'w'), '"]),
        "children_spec": [leaf],
    }
    positional = {"type": "builtins.tuple", "context": "null", "children_spec": []}
    spec = {"type": "builtins.tuple", "context": "null", "children_spec": [positional, keywords]}
    with edited(entries) as program:
        signature = program["graph_module"]["module_call_graph"][0]["signature"]
        signature["in_spec"] = json.dumps([1, spec])


def old_pickle(marker: str) -> bytes:
    """The payload as torch before 1.6 saved it: a pickle without a zip."""
    buffer = io.BytesIO()
    torch.save(Payload(marker), buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


# `torch.export.load`, or the program that it loads, runs the code of these.
EXPORTED: dict[str, Attack] = {
    "example_inputs": changing(example_inputs, None),
    "pickled_weight": changing(pickled_weight, "pickle_refused"),
    "pickled_constant": changing(pickled_constant, "pickle_refused"),
    "legacy_weights": changing(legacy_weights, "pickle_refused"),
    "legacy_constants": changing(legacy_constants, "pickle_refused"),
    "opaque_constant": changing(opaque_constant, "pickle_refused"),
    "symbolic_size": changing(symbolic_size, "expression_refused"),
    "tree_spec": changing(tree_spec, "container_refused"),
    "guards_code": changing(guards_code, None),
    "from_file": changing(from_file, "operator_refused"),
    "constant_string": changing(constant_string, "program_refused"),
    "argument_name": changing(argument_name, "program_refused"),
    "keyword_name": changing(keyword_name, "container_refused"),
}
# `torch.load(weights_only=False)` runs the code of these.
PICKLED: dict[str, Attack] = {
    "pickled_module": Attack(lambda _, marker: pickled(marker), "not_an_archive"),
    "old_pickled_module": Attack(lambda _, marker: old_pickle(marker), "not_an_archive"),
    "bare_pickle": Attack(lambda _, marker: pickle.dumps(Payload(marker)), "not_an_archive"),
}
