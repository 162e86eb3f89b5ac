"""Attacks with regions without gradients, the only graphs that an argument may hold."""

from collections.abc import Callable
from copy import deepcopy

from tests.attacks.attack import Attack
from tests.attacks.programs import Json, graph, tensor

REGION = "torch.ops.higher_order.wrap_with_set_grad_enabled"


def region(change: Callable[[Json, Json], object], code: str | None = "program_refused") -> Attack:
    """An archive whose first node is inside a region.

    `change`: changes the whole graph, and the node that is the region.
    """

    def wrap(document: Json) -> None:
        node = document["nodes"][0]
        names = [argument["arg"]["as_tensor"]["name"] for argument in node["inputs"] if "as_tensor" in argument["arg"]]
        inner = {
            "inputs": [tensor(name) for name in names],
            "outputs": deepcopy(node["outputs"]),
            "nodes": [deepcopy(node)],
            "tensor_values": {name: document["tensor_values"][name] for name in [*names, node["name"]]},
            "sym_int_values": {},
            "sym_bool_values": {},
        }
        values = [{"as_bool": False}, {"as_graph": {"name": "submod_1", "graph": inner}}, *map(tensor, names)]
        inputs = [{"name": "", "arg": value, "kind": 1} for value in values]
        document["nodes"][0] = node | {"target": REGION, "inputs": inputs}
        change(document, document["nodes"][0])

    return graph(wrap, code)


def inner(node: Json) -> Json:
    """The graph of a region."""
    document: Json = node["inputs"][1]["arg"]["as_graph"]["graph"]
    return document


def in_region(change: Callable[[Json], object], code: str | None = "program_refused") -> Attack:
    """An archive with a region whose graph `change` changes."""
    return region(lambda document, node: change(inner(node)), code)


def in_node(code: str | None = "program_refused", **changes: object) -> Attack:
    """An archive with a region whose only node is changed."""
    return in_region(lambda graph: graph["nodes"][0].update(changes), code)


def nest(document: Json, node: Json, depth: int) -> None:
    for _ in range(depth):
        inner(node)["nodes"][0] = deepcopy(node)


def repeat(document: Json, node: Json, times: int) -> None:
    """The same node many times in the region; each copy needs the one before."""
    call = inner(node)["nodes"][0]
    weight = call["inputs"][1]["arg"]
    copies = []
    for number in range(times):
        copy = {
            "target": "torch.ops.aten.mul.Tensor",
            "metadata": {},
            "name": f"more_{number}",
            "outputs": [tensor(f"more_{number}")],
        }
        first = tensor(f"more_{number - 1}") if number else weight
        copy["inputs"] = [{"name": "self", "arg": first, "kind": 1}, {"name": "other", "arg": weight, "kind": 1}]
        copies.append(copy)
    call["inputs"][1]["arg"] = tensor(f"more_{times - 1}")
    inner(node)["nodes"] = [*copies, call]


def share(document: Json, node: Json) -> None:
    """Two regions with the same graph and the same results: torch takes a name once."""
    document["nodes"].insert(1, deepcopy(node))


def shadow(document: Json, node: Json) -> None:
    """The region's input has the name of another tensor of the program, and another shape."""
    inner(node)["tensor_values"][inner(node)["inputs"][0]["as_tensor"]["name"]] = document["tensor_values"]["c_shift"]


REGIONS: dict[str, Attack] = {
    "region_as_written": region(lambda document, node: None, None),
    "region_twice": region(share, "not_loadable"),
    "region_with_a_forged_shape": region(shadow, None),
    "region_in_a_region": region(lambda document, node: nest(document, node, 1)),
    "regions_in_regions": region(lambda document, node: nest(document, node, 20)),
    "regions_without_end": region(lambda document, node: nest(document, node, 40)),
    "region_of_many_nodes": region(lambda document, node: repeat(document, node, 20_001), "archive_too_large"),
    "region_with_a_foreign_operator": in_node("operator_refused", target="torch.ops.aten.from_file.default"),
    "region_with_a_cond": in_node("operator_refused", target="torch.ops.higher_order.cond"),
    "region_with_code": in_node("operator_refused", target="torch.os.system"),
    "region_with_a_module_of_code": in_node(metadata={"nn_module_stack": "a,b,__import__('os')"}),
    "region_that_reads_outside": in_region(lambda graph: graph["inputs"].pop(0)),
    "region_that_reads_later": in_region(lambda graph: graph["nodes"][0]["inputs"][0].update(arg=tensor("relu"))),
    "region_with_code_as_name": in_region(lambda graph: graph["inputs"][0]["as_tensor"].update(name="x = open('x')")),
    "region_with_more_results": in_region(lambda graph: graph["outputs"].append(graph["outputs"][0])),
    "region_without_results": in_region(lambda graph: graph["outputs"].clear()),
    "region_that_returns_a_missing_value": in_region(lambda graph: graph["outputs"][0]["as_tensor"].update(name="missing")),
    "region_with_an_object": in_region(lambda graph: graph.update(custom_obj_values={"o": {}}), "pickle_refused"),
    "region_that_changes_a_weight": in_region(
        lambda graph: graph["nodes"].insert(
            0,
            {
                "target": "torch.ops.aten.zero_.default",
                "inputs": [{"name": "self", "arg": graph["inputs"][1], "kind": 1}],
                "outputs": [tensor("gone")],
                "metadata": {},
                "name": "gone",
            },
        )
    ),
    "region_without_a_graph": region(lambda document, node: node["inputs"].pop(1)),
    "region_with_two_graphs": region(lambda document, node: node["inputs"].append(node["inputs"][1])),
    "region_without_a_switch": region(lambda document, node: node["inputs"][0].update(arg={"as_int": 0})),
    "region_without_arguments": region(lambda document, node: node["inputs"].clear()),
    "region_that_takes_a_number": region(lambda document, node: node["inputs"][2].update(arg={"as_int": 1})),
    "region_that_changes_its_first_argument_under_another_name": in_region(
        lambda graph: graph["nodes"].insert(
            0,
            {
                "target": "torch.ops.aten.add_.Tensor",
                "inputs": [
                    {"name": "other", "arg": tensor("own"), "kind": 1},
                    {"name": "self", "arg": graph["inputs"][1], "kind": 1},
                ],
                "outputs": [tensor("gone")],
                "metadata": {},
                "name": "gone",
            },
        )
    ),
    "graph_as_a_result": region(lambda document, node: node["outputs"].append(node["inputs"][1]["arg"])),
    "graph_of_an_ordinary_operator": region(lambda document, node: node.update(target="torch.ops.aten.relu.default")),
}
